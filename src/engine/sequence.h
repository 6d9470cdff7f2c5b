// One generation in progress, from forward pass to forward pass. Session and Batch drive it.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/generation.h"
#include "engine/lookup.h"
#include "engine/sampler.h"
#include "engine/text_output.h"
#include "model/llama_model.h"
#include "text/tokenizer.h"

namespace fptq::engine {

// A key-value cache and the ids whose keys and values it holds, kept from request to request.
struct CachedIds {
  model::KvCache cache;
  std::vector<std::int32_t> ids = {};

  // How many ids at the prompt's beginning need not be computed again. The last one always is,
  // because its logits are needed; with dynamic RoPE all are: there keys depend on the length of
  // the input.
  [[nodiscard]] std::size_t common_prefix(std::span<const std::int32_t> prompt,
                                          const model::LlamaModel& model) const;
  void truncate(std::size_t length);
};

// Usage, until finished(): next_input(), a forward pass with it, advance() with its logits.
//
// Drafts of a lookup do not change what is generated: the logits of a token have the same bits in
// any pass, each token is chosen from them as without drafts, and a draft only says which of them
// are there already. What the pass computed behind a wrong draft leaves the cache again.
class Sequence {
 public:
  // request: has passed check_request(). model, tokenizer and cached have to outlive it; cached
  // keeps what it shares with the prompt and is the sequence's alone.
  [[nodiscard]] static Result<Sequence> start(const model::LlamaModel& model,
                                              const text::Tokenizer& tokenizer, CachedIds& cached,
                                              GenerationRequest request, TextFn on_text);

  // What the next pass has to compute: of the prompt at most `most` tokens, >= 1, or else the last
  // generated token with a draft behind it.
  [[nodiscard]] model::SequenceInput next_input(std::size_t most);
  // Rows of logits that it asks for.
  [[nodiscard]] std::size_t logits_rows() const;
  // Takes them: [logits_rows(), V]. Errors: kFormat for logits with NaN.
  [[nodiscard]] Status advance(std::span<const float> logits);

  // Whether prompt tokens are left to compute.
  [[nodiscard]] bool in_prompt() const { return cached_->ids.size() < request_.prompt.size(); }
  [[nodiscard]] bool finished() const { return finished_; }
  // The result, once finished.
  [[nodiscard]] Generation take() { return std::move(result_); }

 private:
  using Clock = std::chrono::steady_clock;

  Sequence(const model::LlamaModel& model, const text::Tokenizer& tokenizer, CachedIds& cached,
           GenerationRequest request, TextFn on_text);

  [[nodiscard]] Status accept(std::int32_t id, std::size_t length);
  [[nodiscard]] Status finish(FinishReason reason);

  CachedIds* cached_;
  GenerationRequest request_;
  Sampler sampler_;
  TextOutput output_;
  LookupDrafter drafter_;
  std::size_t vocabulary_;                                   // V
  std::vector<std::int32_t> history_;                        // prompt and generated ids
  std::vector<std::int32_t> input_;                          // of the pass under way
  model::LogitsWanted wanted_ = model::LogitsWanted::kNone;  // of that pass
  bool finished_ = false;
  Generation result_;
  Clock::time_point phase_start_ = Clock::now();  // of the prefill, then of decoding
};

}  // namespace fptq::engine
