// Distributions given by logits, in double precision.

#pragma once

#include <span>

namespace fptq {

// log(sum_v exp(logits[v])), at least one logit. NaN where a logit is NaN or +infinity.
[[nodiscard]] double log_sum_exp(std::span<const float> logits);

// sum_v p[v] * (log p[v] - log q[v]), nats, p = softmax(base), q = softmax(candidate): what
// taking q for p costs per draw from p. At least 0; NaN where log_sum_exp() of a row is NaN.
//   base, candidate  [V]
[[nodiscard]] double kl_divergence(std::span<const float> base, std::span<const float> candidate);
// The same where log_sum_exp() of both rows is known.
[[nodiscard]] double kl_divergence(std::span<const float> base, double base_norm,
                                   std::span<const float> candidate, double candidate_norm);

}  // namespace fptq
