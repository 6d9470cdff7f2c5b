// Log-likelihoods of many continuations, each shared beginning computed once.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "model/kv_cache.h"
#include "model/llama_model.h"
#include "text/tokenizer.h"

namespace fptq::eval {

using text::TokenId;

// A sequence, of which the tokens from first_scored on are scored: 1 <= first_scored <
// tokens.size(). The model sees all tokens but the last.
struct ScoredSequence {
  std::vector<TokenId> tokens;
  std::size_t first_scored = 1;
};

struct SequenceScore {
  double log_likelihood = 0.0;  // sum of log softmax(logits)[token] over the scored tokens, nats
  bool greedy = true;           // each of them is the most probable (of equals the lowest id)
};

// Called for each sequence when its last token is scored, in no order. An error stops the run.
using OnSequence = std::function<Status(std::size_t sequence, const SequenceScore& score)>;

// Runs sequences through a model together. What several of them begin with, such as the question
// in front of its choices or the examples in front of all questions, goes through the model once,
// and logits are computed only where a token is scored. The scores have the same bits as those of
// each sequence alone.
class LogLikelihoodScorer {
 public:
  // model and pool have to outlive it. The model's RoPE must not depend on the input's length.
  LogLikelihoodScorer(model::LlamaModel& model, ThreadPool& pool,
                      model::KvType kv = model::KvType::kF32)
      : model_(&model), pool_(&pool), kv_(kv) {}

  // A score for each sequence. The more are given together, the fuller are the passes. Memory:
  // caches of 256 MiB, or what one document's sequences need, and logits of 128 MiB at most.
  // Errors: kInvalidArgument for an id outside the vocabulary; kLimit where caches do not fit;
  // kFormat for logits that are not finite; those of on_scored.
  [[nodiscard]] Result<std::vector<SequenceScore>> score(std::span<const ScoredSequence> sequences,
                                                         const OnSequence& on_scored = {});

  // The most bytes of caches that were held at a time, but for that of a common beginning.
  [[nodiscard]] std::uint64_t most_cache_bytes() const { return most_cache_bytes_; }

 private:
  // The cache of the tokens that all sequences of the last call began with: those of the next
  // begin with them too where examples stand in front of questions.
  struct Beginning {
    std::vector<TokenId> tokens;
    model::KvCache cache;
  };

  model::LlamaModel* model_;
  ThreadPool* pool_;
  model::KvType kv_;
  std::optional<Beginning> beginning_;
  std::uint64_t most_cache_bytes_ = 0;
};

}  // namespace fptq::eval
