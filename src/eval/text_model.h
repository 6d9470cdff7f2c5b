// A model and its tokenizer, made ready for evaluation.

#pragma once

#include <cstddef>
#include <optional>

#include "base/result.h"
#include "eval/logits_source.h"
#include "text/tokenizer.h"

namespace fptq::eval {

// The special tokens that begin and end a text, as the checkpoint's tokenizer files name them.
struct TextEnds {
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
};

// source and tokenizer have to outlive the result.
//   context  positions that the model was made for
// Whether the tokenizer begins every text with BOS is found out by letting it encode one.
// Errors: the tokenizer's.
[[nodiscard]] Result<TextModel> make_text_model(LogitsSource& source,
                                                const text::Tokenizer& tokenizer,
                                                const TextEnds& ends, std::size_t context);

}  // namespace fptq::eval
