#include "base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace fptq {
namespace {

TEST(Rng, GivesTheStandardsTenThousandthNumber) {
  // [rand.predef]: the 10000th number of a default-constructed mt19937_64 (seed 5489).
  Rng rng(5489);
  std::uint64_t value = 0;
  for (int i = 0; i < 10000; ++i) value = rng.bits();
  EXPECT_EQ(9981545732273789042ULL, value);
}

TEST(Rng, BelowReachesEveryRemainderAboutEquallyOften) {
  Rng rng(1);
  std::vector<int> counts(7, 0);
  for (int i = 0; i < 70000; ++i) ++counts[rng.below(7)];
  for (const int count : counts) EXPECT_NEAR(10000, count, 500);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  Rng rng(2);
  double sum = 0.0;
  double squares = 0.0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    const double value = rng.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(0.0, sum / kCount, 0.02);
  EXPECT_NEAR(1.0, squares / kCount, 0.03);
}

}  // namespace
}  // namespace fptq
