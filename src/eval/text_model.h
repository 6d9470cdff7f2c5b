// A model and its tokenizer, made ready for evaluation.

#pragma once

#include <cstddef>

#include "eval/logits_source.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::eval {

// Ids as the tokenizer gives them by default, BOS first where it adds one.
//   source, tokenizer  have to outlive the result
//   context            positions that the model was made for
[[nodiscard]] TextModel make_text_model(LogitsSource& source, const text::Tokenizer& tokenizer,
                                        const text::SpecialTokens& special, std::size_t context);

}  // namespace fptq::eval
