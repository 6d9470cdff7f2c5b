// From a context and a continuation to the tokens that a model scores.

#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/result.h"
#include "eval/log_likelihood.h"
#include "eval/logits_source.h"

namespace fptq::eval {

struct TaskEncoder {
  EncodeFn encode;                      // with the special tokens that the tokenizer adds by itself
  EncodeFn encode_plain;                // without
  std::optional<TokenId> prefix_token;  // stands for an empty context
  std::size_t context = 0;              // L: tokens that the model sees at most
};

struct EncodedRequest {
  ScoredSequence sequence;
  std::size_t tokens = 0;  // of the continuation
  bool cut = false;        // the context lost its beginning, because it was too long
};

// As lm-evaluation-harness encodes a pair: white space at the context's end goes to the
// continuation; the continuation's tokens are those of the whole text behind as many as the
// context alone has, even where a merge crosses the boundary; of a pair that is too long the last
// L + 1 tokens are kept. (TemplateLM._encode_pair, HFLM._loglikelihood_tokens.)
//
// where: begins every message. Errors: kFormat for a continuation without tokens and for one
// that is longer than L; kInvalidArgument for an empty context where there is no prefix token;
// what encoding returns.
[[nodiscard]] Result<EncodedRequest> encode_request(const TaskEncoder& encoder,
                                                    const std::string& context,
                                                    const std::string& continuation,
                                                    const std::string& where);

}  // namespace fptq::eval
