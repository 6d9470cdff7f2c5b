// A model and its tokenizer, made ready for evaluation.

#pragma once

#include <cstddef>

#include "eval/logits_source.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::eval {

// `encode`, which returns the ids of the last long text without encoding it again: several
// measurements of one model read the same text, and a megabyte takes most of a second. Long is at
// least kLongTextBytes. May be called from several threads if `encode` may.
inline constexpr std::size_t kLongTextBytes = std::size_t{1} << 16;
[[nodiscard]] EncodeFn remember_long_text(EncodeFn encode);

// Ids as the tokenizer gives them by default, BOS first where it adds one; those of a long text are
// remembered.
//   source, tokenizer  have to outlive the result
//   context            positions that the model was made for
[[nodiscard]] TextModel make_text_model(LogitsSource& source, const text::Tokenizer& tokenizer,
                                        const text::SpecialTokens& special, std::size_t context);

}  // namespace fptq::eval
