#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace fptq::eval {
namespace {

TEST(RunningMoments, GivesMeanVarianceAndStandardError) {
  RunningMoments moments;
  for (const double value : {2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}) moments.add(value);
  EXPECT_EQ(moments.count(), 8u);
  EXPECT_DOUBLE_EQ(moments.mean(), 5.0);
  EXPECT_DOUBLE_EQ(moments.variance(), 32.0 / 7.0);
  EXPECT_DOUBLE_EQ(moments.standard_error(), std::sqrt(32.0 / 7.0 / 8.0));
}

TEST(RunningMoments, KeepsSmallDeviationsOfLargeValues) {
  RunningMoments moments;
  for (const double value : {1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0}) moments.add(value);
  EXPECT_DOUBLE_EQ(moments.variance(), 1.0);
}

TEST(RunningMoments, HasNoMeanOfNothingAndNoSpreadOfOneValue) {
  RunningMoments moments;
  EXPECT_TRUE(std::isnan(moments.mean()));
  moments.add(3.0);
  EXPECT_EQ(moments.mean(), 3.0);
  EXPECT_TRUE(std::isnan(moments.standard_error()));
}

TEST(Quantile, InterpolatesBetweenNeighbours) {
  const std::array<double, 4> values = {1.0, 2.0, 3.0, 10.0};
  EXPECT_EQ(quantile(values, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(quantile(values, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile(values, 0.9), 3.0 + 0.7 * 7.0);
  EXPECT_EQ(quantile(values, 1.0), 10.0);
}

TEST(Quantile, OfOneValueIsThatValue) {
  const std::array<double, 1> values = {7.0};
  EXPECT_EQ(quantile(values, 0.0), 7.0);
  EXPECT_EQ(quantile(values, 0.99), 7.0);
}

TEST(Quantile, TakesNothingFromAnInfiniteNeighbourItDoesNotReach) {
  const std::array<double, 3> values = {1.0, 2.0, std::numeric_limits<double>::infinity()};
  EXPECT_EQ(quantile(values, 0.5), 2.0);
}

}  // namespace
}  // namespace fptq::eval
