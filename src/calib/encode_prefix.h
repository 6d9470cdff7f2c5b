// Tokenizing no more of a text than is needed.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace fptq::calib {

// The most bytes that are tokenized at once: the tokenizer needs some 100 times the memory.
inline constexpr std::size_t kLargestPiece = std::size_t{1} << 22;

// The length of text's first piece of at most `most` bytes (>= 4): up to a line that begins with
// something other than white space, else up to a space behind a word, else up to a whole character;
// the first two are looked for in the second half. All of a text that is no longer.
[[nodiscard]] std::size_t piece_length(std::string_view text, std::size_t most);

// The first `count` ids of text (UTF-8), without special tokens in front, or all where there are
// fewer. Text is tokenized in pieces of about 8 bytes per token still wanted: where the first one
// suffices, as it usually does, the ids are those of the whole text.
// Errors: those of Tokenizer::encode().
[[nodiscard]] Result<std::vector<std::int32_t>> encode_prefix(const text::Tokenizer& tokenizer,
                                                              std::string_view text,
                                                              std::size_t count);

}  // namespace fptq::calib
