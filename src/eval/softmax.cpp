#include "eval/softmax.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace fptq::eval {
namespace {

double at(std::span<const float> row, text::TokenId id) {
  return static_cast<double>(row[static_cast<std::size_t>(id)]);
}

std::ptrdiff_t top(std::span<const float> row) {
  return std::distance(row.begin(), std::max_element(row.begin(), row.end()));
}

}  // namespace

double log_sum_exp(std::span<const float> logits) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  // With an infinite maximum the differences above are NaN, and so is the result.
  return largest + std::log(sum);
}

double negative_log_likelihood(std::span<const float> logits, text::TokenId target) {
  return log_sum_exp(logits) - at(logits, target);
}

TokenDivergence compare_logits(std::span<const float> base, std::span<const float> candidate,
                               text::TokenId target) {
  const double base_norm = log_sum_exp(base);
  const double candidate_norm = log_sum_exp(candidate);
  double kl = 0.0;
  for (std::size_t v = 0; v < base.size(); ++v) {
    const double log_p = static_cast<double>(base[v]) - base_norm;
    const double p = std::exp(log_p);
    if (p == 0.0) continue;  // x log x goes to 0; the product below would be 0 * infinity
    kl += p * (log_p - (static_cast<double>(candidate[v]) - candidate_norm));
  }
  // A divergence is not negative; rounding can leave -1e-17 between nearly equal rows.
  if (kl < 0.0) kl = 0.0;
  return {
      kl, top(base) == top(candidate),
      std::exp(at(candidate, target) - candidate_norm) - std::exp(at(base, target) - base_norm)};
}

}  // namespace fptq::eval
