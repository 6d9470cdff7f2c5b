// Generating text: one sequence with its cache, a prompt at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "engine/sampler.h"
#include "model/llama_model.h"
#include "text/tokenizer.h"

namespace fptq::engine {

// Gets each piece of text as it becomes certain. Returns false to end the generation.
using TextFn = std::function<bool(std::string_view piece)>;

struct GenerationRequest {
  std::vector<std::int32_t> prompt = {};  // ids, at least one
  std::size_t max_tokens = 128;
  SamplingOptions sampling = {};
  std::vector<std::int32_t> stop_ids = {};     // usually the model's end-of-sequence ids
  std::vector<std::string> stop_strings = {};  // end the text before they appear
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
};

struct Generation {
  std::vector<std::int32_t> ids;  // generated, the stop id included
  std::string text;               // of them, without special tokens and stop string
  FinishReason finish = FinishReason::kLength;
  GenerationTimings timings;
};

// Keeps what its cache holds from request to request, and computes only what a new prompt adds to
// the beginning that it shares with the last one (with dynamic RoPE everything: there keys depend
// on the length of the input).
//
// Thread safety: none; sessions that share a model take turns.
class Session {
 public:
  // capacity: positions of the cache (--ctx), at least 1. model and tokenizer have to outlive the
  // session. Errors: kInvalidArgument for a capacity of 0, kLimit where memory does not suffice.
  [[nodiscard]] static Result<Session> create(model::LlamaModel& model,
                                              const text::Tokenizer& tokenizer,
                                              std::size_t capacity,
                                              model::KvType kv = model::KvType::kF32);

  // Generates until something of FinishReason happens. Text is decoded as the prompt's
  // continuation: its first word keeps its space. The prompt goes through the model in passes of
  // 512 tokens, and `progress` hears of each ("reading the prompt").
  //
  // Errors: kInvalidArgument for an empty prompt, ids outside the vocabulary and sampling options
  // out of range; kLimit for a prompt longer than the cache; kFormat for logits with NaN;
  // kInterrupted where `progress` returned false. The passes before that stay in the cache.
  [[nodiscard]] Result<Generation> generate(const GenerationRequest& request,
                                            const TextFn& on_text = {},
                                            const ProgressFn& progress = {});

  // Ids whose keys and values are in the cache.
  [[nodiscard]] std::span<const std::int32_t> cached() const { return cached_; }
  [[nodiscard]] std::size_t capacity() const { return cache_.capacity(); }

 private:
  Session(model::LlamaModel& model, const text::Tokenizer& tokenizer, model::KvCache cache)
      : model_(&model), tokenizer_(&tokenizer), cache_(std::move(cache)) {}

  // Runs ids behind the cached ones. total_length: of the whole input, which they are a part of.
  // With LogitsWanted::kLast logits_ belong to the last one then.
  [[nodiscard]] Status advance(std::span<const std::int32_t> ids, std::size_t total_length,
                               model::LogitsWanted logits);
  // Runs what the cache does not hold of the prompt.
  [[nodiscard]] Status prefill(std::span<const std::int32_t> prompt, const ProgressFn& progress);
  // Shortens the cache to what it shares with the prompt; returns how much that is.
  std::size_t keep_common_prefix(std::span<const std::int32_t> prompt);

  model::LlamaModel* model_;
  const text::Tokenizer* tokenizer_;
  model::KvCache cache_;
  std::vector<std::int32_t> cached_;
  std::vector<float> logits_;  // [V]
};

}  // namespace fptq::engine
