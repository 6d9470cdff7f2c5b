#include "eval/softmax.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace fptq::eval {
namespace {

double at(std::span<const float> row, text::TokenId id) {
  return static_cast<double>(row[static_cast<std::size_t>(id)]);
}

}  // namespace

text::TokenId most_probable(std::span<const float> logits) {
  return static_cast<text::TokenId>(
      std::distance(logits.begin(), std::max_element(logits.begin(), logits.end())));
}

TokenDivergence compare_logits(std::span<const float> base, std::span<const float> candidate,
                               text::TokenId target) {
  const double base_norm = log_sum_exp(base);
  const double candidate_norm = log_sum_exp(candidate);
  const text::TokenId base_top = most_probable(base);
  TokenDivergence result{};
  result.kl = kl_divergence(base, base_norm, candidate, candidate_norm);
  result.same_top = base_top == most_probable(candidate);
  result.delta_p =
      std::exp(at(candidate, target) - candidate_norm) - std::exp(at(base, target) - base_norm);
  result.base_top_p = std::exp(at(base, static_cast<text::TokenId>(base_top)) - base_norm);
  return result;
}

}  // namespace fptq::eval
