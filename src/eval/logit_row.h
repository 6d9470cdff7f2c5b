// What scoring needs of a row of logits, with the vector units.

#pragma once

#include <span>

#include "ops/exp.h"
#include "text/tokenizer.h"

namespace fptq::eval {

struct LogitRow {
  double norm;        // log(sum_v exp(logits[v])), nats
  text::TokenId top;  // the index of the highest logit, of equals the lowest
};

// logits: [V], at least one. NaN is the norm where a logit is NaN or +infinity.
//
// Bits: the same for every isa of `exp`. Exponentials are float32, less than 1.1 ulp off, of
// differences from the maximum that are rounded to float32, and added in double. A difference d has
// a share p of the sum, and sum p d is at most log V, the largest entropy. So the norm is off by
// less than 2^-24 (2.2 + log V): 8e-7 for 49152 logits.
[[nodiscard]] LogitRow look_at_row(std::span<const float> logits, const ops::Exp& exp);

// -log softmax(logits)[target], in nats, as exact as look_at_row()'s norm. target: an index of
// logits. NaN where a logit is NaN or +infinity.
[[nodiscard]] double negative_log_likelihood(std::span<const float> logits, text::TokenId target,
                                             const ops::Exp& exp);

}  // namespace fptq::eval
