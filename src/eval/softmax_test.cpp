#include "eval/softmax.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace fptq::eval {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float log_of(double p) {
  return static_cast<float>(std::log(p));
}

// p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): KL = 1/2 log 2 - 1/4 log 2.
TEST(CompareLogits, MatchesADivergenceByHand) {
  const std::array<float, 3> base = {log_of(0.5), log_of(0.25), log_of(0.25)};
  const std::array<float, 3> candidate = {log_of(0.25), log_of(0.25), log_of(0.5)};
  const TokenDivergence divergence = compare_logits(base, candidate, 2);
  EXPECT_NEAR(divergence.kl, 0.25 * std::log(2.0), 1e-7);
  EXPECT_FALSE(divergence.same_top);
  EXPECT_NEAR(divergence.delta_p, 0.25, 1e-7);
  EXPECT_NEAR(divergence.base_top_p, 0.5, 1e-7);
}

TEST(CompareLogits, IsZeroForRowsThatDifferByAConstant) {
  const std::array<float, 3> base = {1.0f, 2.0f, 4.0f};
  const std::array<float, 3> candidate = {9.0f, 10.0f, 12.0f};
  const TokenDivergence divergence = compare_logits(base, candidate, 0);
  EXPECT_NEAR(divergence.kl, 0.0, 1e-14);
  EXPECT_GE(divergence.kl, 0.0);
  EXPECT_TRUE(divergence.same_top);
  EXPECT_NEAR(divergence.delta_p, 0.0, 1e-14);
}

TEST(CompareLogits, IsExactlyZeroForTheSameRow) {
  const std::array<float, 4> row = {0.1f, -3.0f, 7.5f, 7.5f};
  const TokenDivergence divergence = compare_logits(row, row, 3);
  EXPECT_EQ(divergence.kl, 0.0);
  EXPECT_TRUE(divergence.same_top);
  EXPECT_EQ(divergence.delta_p, 0.0);
}

TEST(CompareLogits, CountsNothingWhereTheBaseHasNoProbability) {
  const std::array<float, 2> base = {0.0f, -kInfinity};
  const std::array<float, 2> candidate = {0.0f, 0.0f};
  EXPECT_NEAR(compare_logits(base, candidate, 0).kl, std::log(2.0), 1e-15);
  EXPECT_EQ(compare_logits(candidate, base, 0).kl, std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace fptq::eval
