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

double negative_log_likelihood(std::span<const float> logits, text::TokenId target) {
  return log_sum_exp(logits) - at(logits, target);
}

TokenDivergence compare_logits(std::span<const float> base, std::span<const float> candidate,
                               text::TokenId target) {
  const double base_norm = log_sum_exp(base);
  const double candidate_norm = log_sum_exp(candidate);
  return {
      kl_divergence(base, base_norm, candidate, candidate_norm), top(base) == top(candidate),
      std::exp(at(candidate, target) - candidate_norm) - std::exp(at(base, target) - base_norm)};
}

}  // namespace fptq::eval
