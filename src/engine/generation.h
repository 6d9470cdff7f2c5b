// What a generation is asked for, and what comes of it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/sampler.h"

namespace fptq::engine {

// Gets each piece of text as it becomes certain. Returns false to end the generation.
using TextFn = std::function<bool(std::string_view piece)>;

struct GenerationRequest {
  std::vector<std::int32_t> prompt = {};  // ids, at least one
  std::size_t max_tokens = 128;
  SamplingOptions sampling = {};
  std::vector<std::int32_t> stop_ids = {};     // usually the model's end-of-sequence ids
  std::vector<std::string> stop_strings = {};  // end the text before they appear
  // Tokens to draft at most per forward pass, from what followed the text's last few tokens
  // earlier in it; 0: none. Changes the speed and nothing else. Ignored with dynamic RoPE, where a
  // token's logits depend on how many tokens are in the pass.
  std::size_t lookup = 0;
};

enum class FinishReason {
  kStopId,      // one of stop_ids was generated
  kStopString,  // one of stop_strings would have appeared
  kLength,      // max_tokens
  kContext,     // the cache is full
  kCancelled,   // the receiver of the text returned false
};

// "stop", "stop_string", "length", "context", "cancelled".
[[nodiscard]] std::string_view finish_reason_name(FinishReason reason);

struct GenerationTimings {
  std::size_t prompt_tokens = 0;     // of the request
  std::size_t reused_tokens = 0;     // of them in the cache already
  double prefill_s = 0.0;            // for prompt_tokens - reused_tokens, first logits included
  std::size_t generated_tokens = 0;  // the stop id included
  double decode_s = 0.0;             // from the first logits to the end, choosing tokens included
  std::size_t decode_passes = 0;     // forward passes in that time
  std::size_t drafted_tokens = 0;    // that went through the model
  std::size_t accepted_tokens = 0;   // of them, that turned out to be the generated ones

  // Of a decode pass; 0 where there was none. 1 without drafts.
  [[nodiscard]] double tokens_per_pass() const {
    return decode_passes == 0
               ? 0.0
               : static_cast<double>(generated_tokens - 1) / static_cast<double>(decode_passes);
  }
};

struct Generation {
  std::vector<std::int32_t> ids;  // generated, the stop id included
  std::string text;               // of them, without special tokens and stop string
  FinishReason finish = FinishReason::kLength;
  GenerationTimings timings;
};

// Whether a cache of `capacity` positions and a model with `vocabulary` tokens can serve the
// request. Errors: kInvalidArgument for an empty prompt, ids outside the vocabulary and sampling
// options out of range; kLimit for a prompt longer than the cache.
[[nodiscard]] Status check_request(const GenerationRequest& request, std::size_t capacity,
                                   std::size_t vocabulary);

}  // namespace fptq::engine
