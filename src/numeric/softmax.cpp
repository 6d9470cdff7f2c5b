#include "numeric/softmax.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace fptq {

double log_sum_exp(std::span<const float> logits) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  // With an infinite maximum the differences above are NaN, and so is the result.
  return largest + std::log(sum);
}

double kl_divergence(std::span<const float> base, std::span<const float> candidate) {
  return kl_divergence(base, log_sum_exp(base), candidate, log_sum_exp(candidate));
}

double kl_divergence(std::span<const float> base, double base_norm,
                     std::span<const float> candidate, double candidate_norm) {
  double kl = 0.0;
  for (std::size_t v = 0; v < base.size(); ++v) {
    const double log_p = static_cast<double>(base[v]) - base_norm;
    const double p = std::exp(log_p);
    if (p == 0.0) continue;  // x log x goes to 0; the product below would be 0 * infinity
    kl += p * (log_p - (static_cast<double>(candidate[v]) - candidate_norm));
  }
  // A divergence is not negative; rounding can leave -1e-17 between nearly equal rows.
  return kl < 0.0 ? 0.0 : kl;
}

}  // namespace fptq
