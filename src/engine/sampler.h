// Choosing the next token from logits.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/rng.h"

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
// same token on every machine.
//
// Only candidates are sorted, never the whole vocabulary: those that min-p and top-k leave, and
// for top-p as many of the most probable as reach p.
class Sampler {
 public:
  // options: have passed check_sampling_options().
  explicit Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {}

  // The next token's id.
  //   logits   [V], V >= 1
  //   history  ids in [0, V) whose repetition is penalized: prompt and generated tokens
  // Errors: kFormat for a NaN, which means that the model or its weights are damaged, naming
  // the id, and where no logit is above -inf.
  [[nodiscard]] Result<std::int32_t> sample(std::span<const float> logits,
                                            std::span<const std::int32_t> history);

 private:
  struct Candidate {
    float logit;
    std::int32_t id;
  };

  void penalize(std::span<const std::int32_t> history);
  void apply_temperature();
  void collect_candidates();
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  [[nodiscard]] std::int32_t draw();

  SamplingOptions options_;
  Rng rng_;
  std::vector<float> logits_;          // [V], penalized
  std::vector<char> penalized_;        // [V]
  std::vector<Candidate> candidates_;  // what the filters have left
  std::vector<double> probabilities_;  // of the candidates, not normalized
};

// The id of the largest logit, the lowest one of equals. Errors: as Sampler::sample.
[[nodiscard]] Result<std::int32_t> greedy_token(std::span<const float> logits);

}  // namespace fptq::engine
