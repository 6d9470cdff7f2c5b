// Which tokens stand at the beginning and the end of a text.

#pragma once

#include <cstdint>
#include <optional>

#include "text/special_tokens.h"

namespace fptq::calib {

// BOS, where the tokenizer puts it in front of a text.
inline std::optional<std::int32_t> added_bos(const text::SpecialTokens& special) {
  return special.encode_adds_bos ? special.bos : std::nullopt;
}

// The first of the tokens that end a text, or nothing. Chat formats' turn ends are not among them.
inline std::optional<std::int32_t> end_of_text(const text::SpecialTokens& special) {
  return special.stops.empty() ? std::nullopt : std::optional(special.stops.front());
}

}  // namespace fptq::calib
