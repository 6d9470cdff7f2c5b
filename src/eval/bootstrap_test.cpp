#include "eval/bootstrap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"

namespace fptq::eval {
namespace {

struct Clusters {
  std::vector<double> sums;
  std::vector<double> sizes;
};

// Clusters of 50 to 149 tokens whose means are normal around `mean`, with a deviation of `spread`.
Clusters normal_clusters(std::size_t count, double mean, double spread, Rng& rng) {
  Clusters clusters;
  for (std::size_t i = 0; i < count; ++i) {
    clusters.sizes.push_back(50.0 + static_cast<double>(rng.below(100)));
    clusters.sums.push_back(clusters.sizes.back() * (mean + spread * rng.normal()));
  }
  return clusters;
}

TEST(BootstrapRatio, IsTheRatioOfSums) {
  const std::vector<double> sums = {3.0, 5.0, 4.0};
  const std::vector<double> sizes = {1.0, 3.0, 2.0};
  EXPECT_DOUBLE_EQ(bootstrap_ratio(sums, sizes).value, 2.0);
}

TEST(BootstrapRatio, IsAsWideAsTheAnalyticStandardErrorSays) {
  Rng rng(21);
  const Clusters clusters = normal_clusters(400, 0.02, 0.1, rng);
  const BootstrapRatio found = bootstrap_ratio(clusters.sums, clusters.sizes);
  const ClusterRatio analytic = cluster_ratio(clusters.sums, clusters.sizes);
  EXPECT_DOUBLE_EQ(found.value, analytic.value);
  const double half = student_t95(399) * *analytic.standard_error;
  EXPECT_NEAR(found.interval.low, found.value - half, 0.06 * half);
  EXPECT_NEAR(found.interval.high, found.value + half, 0.06 * half);
  const double p = student_outside(found.value / *analytic.standard_error, 399);
  EXPECT_NEAR(found.p, p, 0.3 * p);
}

TEST(BootstrapRatio, IsWidenedForFewClusters) {
  // Symmetric about 5, so that bias and acceleration are next to nothing.
  const std::vector<double> sums = {1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0, 7.0, 8.0, 9.0};
  const std::vector<double> ones(10, 1.0);
  const BootstrapRatio found = bootstrap_ratio(sums, ones);
  const double half = student_t95(9) * *cluster_ratio(sums, ones).standard_error;
  EXPECT_NEAR(found.interval.low, 5.0 - half, 0.08 * half);
  EXPECT_NEAR(found.interval.high, 5.0 + half, 0.08 * half);
}

TEST(BootstrapRatio, ReachesFurtherTowardsALongTail) {
  Rng rng(22);
  std::vector<double> sums(40);
  for (double& sum : sums) sum = std::exp(rng.normal());
  const BootstrapRatio found = bootstrap_ratio(sums, std::vector<double>(40, 1.0));
  EXPECT_GT(found.interval.high - found.value, 1.15 * (found.value - found.interval.low));
}

// Of many runs, those whose interval holds the true value.
int covered_runs(std::size_t clusters, int runs, double (*draw)(Rng&), double truth) {
  Rng rng(23);
  int covered = 0;
  for (int run = 0; run < runs; ++run) {
    std::vector<double> sums(clusters);
    for (double& sum : sums) sum = draw(rng);
    const Interval interval =
        bootstrap_ratio(sums, std::vector<double>(clusters, 1.0), {2000, 1}).interval;
    covered += interval.low <= truth && truth <= interval.high ? 1 : 0;
  }
  return covered;
}

TEST(BootstrapRatio, CoversTheTruthInAboutNineteenOfTwentyRuns) {
  const auto normal = [](Rng& rng) { return rng.normal(); };
  EXPECT_GE(covered_runs(60, 300, normal, 0.0), 279);
  EXPECT_LE(covered_runs(60, 300, normal, 0.0), 294);
  EXPECT_GE(covered_runs(10, 300, normal, 0.0), 273);
  EXPECT_LE(covered_runs(10, 300, normal, 0.0), 297);
  const auto skewed = [](Rng& rng) { return -std::log(1.0 - rng.uniform()); };
  EXPECT_GE(covered_runs(40, 300, skewed, 1.0), 273);
  EXPECT_LE(covered_runs(40, 300, skewed, 1.0), 297);
}

TEST(BootstrapRatio, RejectsTheTruthInAboutOneOfTwentyRunsAndAgreesWithTheInterval) {
  Rng rng(24);
  int rejected = 0;
  for (int run = 0; run < 400; ++run) {
    const Clusters clusters = normal_clusters(30, 0.0, 0.1, rng);
    const BootstrapRatio found = bootstrap_ratio(clusters.sums, clusters.sizes, {1000, 1});
    rejected += found.p <= 0.05 ? 1 : 0;
    // One resample more or less decides between 0.04 and 0.06.
    const bool outside = found.interval.low > 0.0 || found.interval.high < 0.0;
    if (found.p < 0.04 || found.p > 0.06) {
      EXPECT_EQ(outside, found.p <= 0.05) << run;
    }
  }
  EXPECT_GE(rejected, 8);
  EXPECT_LE(rejected, 36);
}

TEST(BootstrapRatio, MirrorsItselfWhereTheSignsAreReversed) {
  Rng rng(25);
  Clusters clusters = normal_clusters(50, 0.03, 0.1, rng);
  const BootstrapRatio found = bootstrap_ratio(clusters.sums, clusters.sizes);
  for (double& sum : clusters.sums) sum = -sum;
  const BootstrapRatio mirrored = bootstrap_ratio(clusters.sums, clusters.sizes);
  EXPECT_NEAR(mirrored.interval.low, -found.interval.high, 1e-9);
  EXPECT_NEAR(mirrored.interval.high, -found.interval.low, 1e-9);
  EXPECT_NEAR(mirrored.p, found.p, 1e-9);
}

TEST(BootstrapRatio, IsTheSameOnEveryRunAndChangesWithTheSeed) {
  Rng rng(26);
  const Clusters clusters = normal_clusters(33, 0.01, 0.1, rng);
  const BootstrapRatio first = bootstrap_ratio(clusters.sums, clusters.sizes);
  const BootstrapRatio second = bootstrap_ratio(clusters.sums, clusters.sizes);
  EXPECT_EQ(first.interval.low, second.interval.low);
  EXPECT_EQ(first.interval.high, second.interval.high);
  EXPECT_EQ(first.p, second.p);
  EXPECT_NE(first.interval.low,
            bootstrap_ratio(clusters.sums, clusters.sizes, {10000, 2}).interval.low);
}

TEST(BootstrapRatio, OfNoDifferenceAnywhereIsSureOfNothing) {
  const std::vector<double> zeros(20, 0.0);
  const BootstrapRatio found = bootstrap_ratio(zeros, std::vector<double>(20, 7.0));
  EXPECT_EQ(found.value, 0.0);
  EXPECT_EQ(found.interval.low, 0.0);
  EXPECT_EQ(found.interval.high, 0.0);
  EXPECT_NEAR(found.p, 1.0, 1e-12);
}

TEST(BootstrapRatio, TakesStudentsPWhereNoResampleReachesZero) {
  Rng rng(27);
  const Clusters clusters = normal_clusters(20, 1.0, 0.1, rng);
  const BootstrapRatio found = bootstrap_ratio(clusters.sums, clusters.sizes);
  const ClusterRatio analytic = cluster_ratio(clusters.sums, clusters.sizes);
  EXPECT_DOUBLE_EQ(found.p, student_outside(analytic.value / *analytic.standard_error, 19));
  EXPECT_LT(found.p, 1e-9);
}

TEST(BootstrapRatio, OfTheSameDifferenceEverywhereHasNoWidth) {
  const std::vector<double> same(200, 1.0);
  const BootstrapRatio found = bootstrap_ratio(same, same);
  EXPECT_EQ(found.interval.low, 1.0);
  EXPECT_EQ(found.interval.high, 1.0);
  EXPECT_EQ(found.p, 0.0);
}

}  // namespace
}  // namespace fptq::eval
