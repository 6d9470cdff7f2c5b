#include "ops/hadamard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace fptq::ops {
namespace {

std::vector<float> normal_values(std::size_t count) {
  Rng rng(3);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

TEST(BlockHadamard, TakesTheLargestPowerOfTwoThatDividesTheWidth) {
  EXPECT_EQ(8192u, widest_hadamard_block(8192));
  EXPECT_EQ(2048u, widest_hadamard_block(14336));
  EXPECT_EQ(256u, widest_hadamard_block(11008));
  EXPECT_EQ(512u, widest_hadamard_block(1536));
  EXPECT_EQ(1u, widest_hadamard_block(77));
}

TEST(BlockHadamard, IsItsOwnInverse) {
  const std::vector<float> x = normal_values(5 * 96);
  std::vector<float> y = x;
  const BlockHadamard rotation(96, 32, best_isa());
  rotation.apply(y.data(), 5);
  EXPECT_GT(std::abs(x[0] - y[0]), 1e-3f);
  rotation.apply(y.data(), 5);
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 2e-6f) << i;
}

TEST(BlockHadamard, SpreadsAnOutlierOverItsBlockOnly) {
  std::vector<float> x(12, 0.0f);
  x[5] = 4.0f;
  BlockHadamard(12, 4, best_isa()).apply(x.data(), 1);
  EXPECT_EQ((std::vector<float>{0, 0, 0, 0, 2, -2, 2, -2, 0, 0, 0, 0}), x);
}

TEST(BlockHadamard, LeavesBlocksOfOneAlone) {
  std::vector<float> x = {1.5f, -2.0f, 3.0f};
  BlockHadamard(3, 1, best_isa()).apply(x.data(), 1);
  EXPECT_EQ((std::vector<float>{1.5f, -2.0f, 3.0f}), x);
}

TEST(BlockHadamard, GivesTheSameBitsOnEveryInstructionSet) {
  const std::vector<float> x = normal_values(3 * 1536);
  std::vector<float> expected = x;
  BlockHadamard(1536, 512, Isa::kScalar).apply(expected.data(), 3);
  std::vector<float> best = x;
  BlockHadamard(1536, 512, best_isa()).apply(best.data(), 3);
  EXPECT_EQ(expected, best);
}

}  // namespace
}  // namespace fptq::ops
