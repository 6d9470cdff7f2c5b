#include "numeric/softmax.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace fptq {
namespace {

TEST(LogSumExp, DoesNotOverflow) {
  const std::array<float, 2> logits = {1000.0f, 1000.0f};
  EXPECT_DOUBLE_EQ(log_sum_exp(logits), 1000.0 + std::log(2.0));
}

TEST(KlDivergence, MatchesADivergenceByHand) {
  // p = (3/4, 1/4), q = (1/2, 1/2).
  const std::array<float, 2> base = {std::log(3.0f), 0.0f};
  const std::array<float, 2> candidate = {5.0f, 5.0f};
  EXPECT_NEAR(kl_divergence(base, candidate), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
}

TEST(KlDivergence, IsNotANumberWhereALogitIsNone) {
  const std::array<float, 2> base = {0.0f, 0.0f};
  const std::array<float, 2> damaged = {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  EXPECT_TRUE(std::isnan(kl_divergence(base, damaged)));
}

}  // namespace
}  // namespace fptq
