// Generating text: one sequence with its cache, a prompt at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "engine/generation.h"
#include "engine/sequence.h"
#include "model/llama_model.h"
#include "text/tokenizer.h"

namespace fptq::engine {

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
  // Errors: check_request()'s; kFormat for logits with NaN; kInterrupted where `progress` returned
  // false. The passes before that stay in the cache.
  [[nodiscard]] Result<Generation> generate(const GenerationRequest& request,
                                            const TextFn& on_text = {},
                                            const ProgressFn& progress = {});

  // Ids whose keys and values are in the cache.
  [[nodiscard]] std::span<const std::int32_t> cached() const { return cached_.ids; }
  [[nodiscard]] std::size_t capacity() const { return cached_.cache.capacity(); }

 private:
  Session(model::LlamaModel& model, const text::Tokenizer& tokenizer, model::KvCache cache)
      : model_(&model), tokenizer_(&tokenizer), cached_{std::move(cache)} {}

  model::LlamaModel* model_;
  const text::Tokenizer* tokenizer_;
  CachedIds cached_;
  std::vector<float> logits_;  // [rows, V] of the pass under way
};

}  // namespace fptq::engine
