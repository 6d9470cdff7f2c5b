// Probabilities from logits, in double precision.

#pragma once

#include <cstddef>
#include <span>

#include "numeric/softmax.h"
#include "text/tokenizer.h"

namespace fptq::eval {

// The index of the highest logit, of equals the lowest: the most probable token.
[[nodiscard]] text::TokenId most_probable(std::span<const float> logits);

// What replacing one row of logits by another does to the next token.
struct TokenDivergence {
  double kl;          // kl_divergence(base, candidate), nats
  bool same_top;      // both have the same most probable token (of equals the lowest id)
  double delta_p;     // q(target) - p(target)
  double base_top_p;  // of base's most probable token
};

// base, candidate: [V]. NaN in kl, delta_p and base_top_p where log_sum_exp() of a row is NaN.
[[nodiscard]] TokenDivergence compare_logits(std::span<const float> base,
                                             std::span<const float> candidate,
                                             text::TokenId target);

}  // namespace fptq::eval
