// Choosing the next token from logits.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "base/rng.h"
#include "ops/exp.h"

namespace fptq::engine {

// How a token is chosen. The defaults choose the most probable one.
struct SamplingOptions {
  double temperature = 0.0;         // 0: the largest logit; else logits are divided by it
  std::size_t top_k = 0;            // keep the k most probable; 0: all
  double top_p = 1.0;               // keep the smallest set whose probability reaches p, in (0, 1]
  double min_p = 0.0;               // keep those of at least min_p times the best, in [0, 1]
  double repetition_penalty = 1.0;  // > 0; seen tokens: logit / r if positive, else logit * r
  std::uint64_t seed = 0;
};

// Errors: kInvalidArgument names the option out of range.
[[nodiscard]] Status check_sampling_options(const SamplingOptions& options);

// Applies, in transformers' order: repetition penalty, temperature, top-k, top-p, min-p; then
// draws from what is left. The last token is never removed. Of equal logits the one with the lowest
// id counts as the more probable, everywhere. The same options, logits and calls before give the
// same token on every machine and for every isa.
//
// A token's weight is its probability over that of the best one, rounded to a multiple of 2^-39.
// As an integer, so that sums are exact and do not depend on an order; what is left out below
// 2^-40 (28 nats under the best) could not be told from never in any number of draws.
//
// Nothing is ever sorted: each filter finds the last token that it keeps by selection, among those
// of the blocks of logits whose largest one is above a threshold. Memory grows at first only.
class Sampler {
 public:
  // options: have passed check_sampling_options().
  explicit Sampler(const SamplingOptions& options, Isa isa = best_isa())
      : options_(options), rng_(options.seed), exp_(isa) {}

  // The next token's id.
  //   logits   [V], 1 <= V <= 2^24
  //   history  ids in [0, V) whose repetition is penalized: prompt and generated tokens
  // Errors: kFormat for a NaN, which means that the model or its weights are damaged, naming
  // the id, and where no logit is above -inf.
  [[nodiscard]] Result<std::int32_t> sample(std::span<const float> logits,
                                            std::span<const std::int32_t> history);

 private:
  struct Candidate {
    float logit;
    std::int32_t id;
    std::uint64_t weight;
  };

  void scale(std::span<const float> logits, std::span<const std::int32_t> history);
  [[nodiscard]] bool scan();
  void weigh_block(const float* logits, std::uint64_t* weights);
  [[nodiscard]] std::uint64_t weigh_all();
  void collect(float threshold);
  [[nodiscard]] std::uint64_t weigh_candidates();
  void keep_until(const Candidate& last);
  void collect_top_k();
  void keep_top_p();
  void keep_min_p();
  [[nodiscard]] std::int32_t draw_from_all();
  [[nodiscard]] std::int32_t draw_from_candidates();

  SamplingOptions options_;
  Rng rng_;
  ops::Exp exp_;
  float best_ = 0.0f;                         // the largest of logits_
  std::vector<float> logits_;                 // [V] penalized and scaled; -inf up to whole blocks
  std::vector<char> penalized_;               // [V]
  std::vector<float> block_best_;             // [blocks] the largest logit of each
  std::vector<std::uint64_t> block_weights_;  // [blocks] sums
  std::vector<float> largest_;                // scratch of selection
  std::vector<Candidate> candidates_;         // what the filters have left, in the order of ids
  std::vector<Candidate> selection_;          // scratch of selection
};

// The id of the largest logit, the lowest one of equals. Errors: as Sampler::sample.
[[nodiscard]] Result<std::int32_t> greedy_token(std::span<const float> logits);

}  // namespace fptq::engine
