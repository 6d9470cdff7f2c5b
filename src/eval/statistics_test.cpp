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

TEST(RunningMoments, MergesAsIfAllValuesHadBeenAdded) {
  const std::array<double, 5> values = {1.5, -2.0, 4.0, 4.0, 10.25};
  RunningMoments all;
  RunningMoments first;
  RunningMoments second;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all.add(values[i]);
    (i < 2 ? first : second).add(values[i]);
  }
  RunningMoments merged;
  merged.merge(first);
  merged.merge(RunningMoments());
  merged.merge(second);
  EXPECT_EQ(merged.count(), 5u);
  EXPECT_DOUBLE_EQ(merged.mean(), all.mean());
  EXPECT_DOUBLE_EQ(merged.variance(), all.variance());
}

TEST(ClusterRatio, MatchesTheFormulaByHand) {
  // r = 12 / 6 = 2; residuals 3 - 2, 5 - 6, 4 - 4: variance 3/2 * 2 / 36.
  const std::array<double, 3> sums = {3.0, 5.0, 4.0};
  const std::array<double, 3> sizes = {1.0, 3.0, 2.0};
  const ClusterRatio ratio = cluster_ratio(sums, sizes);
  EXPECT_DOUBLE_EQ(ratio.value, 2.0);
  EXPECT_EQ(ratio.clusters, 3u);
  EXPECT_DOUBLE_EQ(*ratio.standard_error, std::sqrt(1.5 * 2.0) / 6.0);
}

TEST(ClusterRatio, OfClustersOfOneValueIsTheUsualStandardError) {
  const std::array<double, 4> values = {1.0, 2.0, 4.0, 9.0};
  const std::array<double, 4> ones = {1.0, 1.0, 1.0, 1.0};
  RunningMoments moments;
  for (const double value : values) moments.add(value);
  const ClusterRatio ratio = cluster_ratio(values, ones);
  EXPECT_DOUBLE_EQ(ratio.value, 4.0);
  EXPECT_DOUBLE_EQ(*ratio.standard_error, moments.standard_error());
}

TEST(ClusterRatio, SeesThatNeighboursAreAlike) {
  // Two clusters of four equal values: as sure as two values, not as eight.
  const std::array<double, 2> sums = {4.0, 12.0};
  const std::array<double, 2> sizes = {4.0, 4.0};
  EXPECT_DOUBLE_EQ(*cluster_ratio(sums, sizes).standard_error, 1.0);
}

TEST(ClusterRatio, HasNoErrorOfOneClusterThatHoldsAnything) {
  const std::array<double, 3> sums = {0.0, 6.0, 0.0};
  const std::array<double, 3> sizes = {0.0, 4.0, 0.0};
  const ClusterRatio ratio = cluster_ratio(sums, sizes);
  EXPECT_DOUBLE_EQ(ratio.value, 1.5);
  EXPECT_EQ(ratio.clusters, 1u);
  EXPECT_FALSE(ratio.standard_error.has_value());
}

// Tables of Student's distribution, two sides, 5 percent.
TEST(StudentT95, MatchesTheTables) {
  EXPECT_NEAR(student_t95(1), 12.7062, 5e-5);
  EXPECT_NEAR(student_t95(2), 4.3027, 5e-5);
  EXPECT_NEAR(student_t95(3), 3.1824, 5e-5);
  EXPECT_NEAR(student_t95(10), 2.2281, 5e-5);
  EXPECT_NEAR(student_t95(29), 2.0452, 5e-5);
  EXPECT_NEAR(student_t95(120), 1.9799, 5e-5);
  EXPECT_NEAR(student_t95(1000000), 1.9600, 5e-5);
}

TEST(StudentOutside, IsTheRestOfTheIntervalsProbability) {
  for (const std::size_t degrees : {1u, 2u, 9u, 120u, 20000u}) {
    EXPECT_NEAR(student_outside(student_t95(degrees), degrees), 0.05, 1e-9) << degrees;
    EXPECT_EQ(student_outside(-1.5, degrees), student_outside(1.5, degrees)) << degrees;
    EXPECT_EQ(student_outside(0.0, degrees), 1.0) << degrees;
  }
  // One degree of freedom is Cauchy's distribution: half of it lies within -1..1.
  EXPECT_NEAR(student_outside(1.0, 1), 0.5, 1e-12);
}

// Tables of the normal distribution.
TEST(Normal, MatchesTheTablesBothWays) {
  EXPECT_DOUBLE_EQ(normal_below(0.0), 0.5);
  EXPECT_NEAR(normal_below(-1.0), 0.1586552539, 1e-10);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963985, 1e-9);
  EXPECT_NEAR(normal_quantile(0.8), 0.8416212336, 1e-9);
  EXPECT_NEAR(normal_quantile(1e-6), -4.7534243088, 1e-9);
}

}  // namespace
}  // namespace fptq::eval
