#include "eval/divergence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/rng.h"

namespace fptq::eval {
namespace {

TokenDivergence position(double kl, bool same_top = true, double delta_p = 0.0,
                         double base_top_p = 0.6) {
  return {kl, same_top, delta_p, base_top_p};
}

KlDivergence divergence_of(const std::vector<std::vector<TokenDivergence>>& windows) {
  DivergenceCollector collector;
  for (const auto& window : windows) {
    collector.begin_window();
    for (const TokenDivergence& each : window) collector.add(each);
  }
  return collector.finish();
}

TEST(DivergenceHistogram, HasFourBinsADecade) {
  EXPECT_DOUBLE_EQ(DivergenceHistogram::edge(0), 1e-6);
  EXPECT_DOUBLE_EQ(DivergenceHistogram::edge(4), 1e-5);
  EXPECT_DOUBLE_EQ(DivergenceHistogram::edge(26), std::sqrt(10.0));
  EXPECT_DOUBLE_EQ(DivergenceHistogram::edge(DivergenceHistogram::kBins), 100.0);
}

TEST(DivergenceHistogram, PutsAnEdgeIntoTheBinThatBeginsWithIt) {
  for (std::size_t b = 0; b < DivergenceHistogram::kBins; ++b) {
    const double edge = DivergenceHistogram::edge(b);
    DivergenceHistogram histogram;
    histogram.add(edge);
    histogram.add(std::nextafter(DivergenceHistogram::edge(b + 1), 0.0));
    EXPECT_EQ(histogram.counts()[b], 2u) << "bin " << b;
    histogram.add(std::nextafter(edge, 0.0));
    EXPECT_EQ(b == 0 ? histogram.below() : histogram.counts()[b - 1], 1u) << "bin " << b;
  }
}

TEST(DivergenceHistogram, CountsWhatLiesOutside) {
  DivergenceHistogram histogram;
  for (const double nats : {0.0, -1e-17, 9e-7, 100.0, std::numeric_limits<double>::infinity()}) {
    histogram.add(nats);
  }
  EXPECT_EQ(histogram.below(), 3u);
  EXPECT_EQ(histogram.above(), 2u);
  EXPECT_EQ(std::accumulate(histogram.counts().begin(), histogram.counts().end(), std::size_t{0}),
            0u);
}

TEST(Divergence, TakesStandardErrorsOverWindows) {
  // Means 0.1 and 0.3, agreement 1 and 1/2; two windows of two positions.
  const KlDivergence result = divergence_of(
      {{position(0.1), position(0.1)}, {position(0.2, false, 0.3), position(0.4, true, -0.1)}});
  EXPECT_NEAR(result.mean, 0.2, 1e-15);
  EXPECT_NEAR(*result.standard_errors.mean, 0.1, 1e-15);
  EXPECT_NEAR(result.interval->low, 0.2 - 12.7062 * 0.1, 1e-5);
  EXPECT_NEAR(result.interval->high, 0.2 + 12.7062 * 0.1, 1e-5);
  EXPECT_DOUBLE_EQ(result.top1_agreement, 0.75);
  EXPECT_DOUBLE_EQ(*result.standard_errors.top1_agreement, 0.25);
  EXPECT_EQ(result.flips, 1u);
  // Mean squares 0 and 0.05: of all 0.025 +- 0.025, so the root is sqrt(0.025) +- half of that.
  EXPECT_NEAR(result.rms_delta_p, std::sqrt(0.025), 1e-15);
  EXPECT_NEAR(*result.standard_errors.rms_delta_p, 0.025 / 2.0 / std::sqrt(0.025), 1e-15);
  EXPECT_EQ(result.window_tokens, (std::vector<std::size_t>{2, 2}));
  EXPECT_NEAR(result.window_kl[0], 0.1, 1e-15);
  EXPECT_NEAR(result.window_kl[1], 0.3, 1e-15);
}

TEST(Divergence, WeighsWindowsByTheirPositions) {
  const KlDivergence result =
      divergence_of({{position(0.4)}, {position(0.1), position(0.1), position(0.0)}});
  // r = 0.6 / 4; residuals 0.25 and -0.25, variance 2 * 0.125 / 16.
  EXPECT_NEAR(result.mean, 0.15, 1e-15);
  EXPECT_NEAR(*result.standard_errors.mean, std::sqrt(2.0 * 0.125) / 4.0, 1e-15);
}

TEST(Divergence, OfOneWindowHasNoErrors) {
  const KlDivergence result = divergence_of({{position(0.1), position(0.3)}});
  EXPECT_FALSE(result.standard_errors.mean.has_value());
  EXPECT_FALSE(result.standard_errors.median.has_value());
  EXPECT_FALSE(result.standard_errors.p99.has_value());
  EXPECT_FALSE(result.standard_errors.rms_delta_p.has_value());
  EXPECT_FALSE(result.interval.has_value());
  EXPECT_DOUBLE_EQ(result.median, 0.2);
  EXPECT_DOUBLE_EQ(result.max, 0.3);
}

TEST(Divergence, CountsFlipsByTheConfidenceOfTheBase) {
  const KlDivergence result =
      divergence_of({{position(0.1, true, 0.0, 0.1), position(0.2, false, 0.0, 0.25),
                      position(0.3, true, 0.0, 0.49)},
                     {position(0.4, false, 0.0, 0.3), position(0.5, true, 0.0, 0.9),
                      position(0.6, true, 0.0, 1.0)}});
  ASSERT_EQ(result.by_confidence.size(), 5u);
  const ConfidenceBin& lowest = result.by_confidence[0];
  EXPECT_EQ(lowest.from, 0.0);
  EXPECT_EQ(lowest.to, 0.25);
  EXPECT_EQ(lowest.tokens, 1u);
  EXPECT_EQ(lowest.flips, 0u);
  EXPECT_EQ(*lowest.agreement, 1.0);
  EXPECT_FALSE(lowest.standard_error.has_value());  // positions in one window only
  const ConfidenceBin& quarter = result.by_confidence[1];
  EXPECT_EQ(quarter.tokens, 3u);
  EXPECT_EQ(quarter.flips, 2u);
  EXPECT_DOUBLE_EQ(*quarter.agreement, 1.0 / 3.0);
  EXPECT_NEAR(*quarter.mean_kl, 0.3, 1e-15);
  // Residuals 1 - 2/3 and 0 - 1/3.
  EXPECT_NEAR(*quarter.standard_error, std::sqrt(2.0 * 2.0 / 9.0) / 3.0, 1e-15);
  const ConfidenceBin& empty = result.by_confidence[2];
  EXPECT_EQ(empty.tokens, 0u);
  EXPECT_FALSE(empty.agreement.has_value());
  EXPECT_FALSE(empty.mean_kl.has_value());
  EXPECT_EQ(result.by_confidence[3].tokens, 0u);
  EXPECT_EQ(result.by_confidence[4].tokens, 2u);
  EXPECT_EQ(result.by_confidence[4].to, 1.0);
}

// Of independent normal values in windows of one, the bootstrap has to find the textbook's error
// of a median: sqrt(pi / 2) * sigma / sqrt(n), which holds to a tenth for 400 values.
TEST(Divergence, FindsTheErrorOfAMedianByResampling) {
  Rng rng(7);
  std::vector<std::vector<TokenDivergence>> windows;
  windows.reserve(400);
  for (int i = 0; i < 400; ++i) windows.push_back({position(5.0 + rng.normal())});
  const KlDivergence result = divergence_of(windows);
  const double expected = std::sqrt(3.14159265 / 2.0 / 400.0);
  EXPECT_NEAR(*result.standard_errors.median, expected, 0.2 * expected);
  EXPECT_GT(*result.standard_errors.p99, *result.standard_errors.p90);
}

// With two windows a resample is the first twice, both, or the second twice, so every quantile
// is one of three that can be computed directly.
TEST(Divergence, ResamplesWholeWindows) {
  const KlDivergence result =
      divergence_of({{position(0.1), position(0.2), position(0.3)}, {position(0.5)}});
  // Medians 0.2, 0.25 and 0.5 in a quarter, a half and a quarter of the resamples.
  const double mean = 0.25 * 0.2 + 0.5 * 0.25 + 0.25 * 0.5;
  const double variance = 0.25 * (0.2 - mean) * (0.2 - mean) + 0.5 * (0.25 - mean) * (0.25 - mean) +
                          0.25 * (0.5 - mean) * (0.5 - mean);
  EXPECT_NEAR(*result.standard_errors.median, std::sqrt(variance), 0.08 * std::sqrt(variance));
}

TEST(Divergence, GivesTheSameErrorsEveryTime) {
  const auto measure = [] {
    return divergence_of({{position(0.1), position(0.7)}, {position(0.2)}, {position(0.4)}});
  };
  EXPECT_EQ(measure().standard_errors.median, measure().standard_errors.median);
  EXPECT_EQ(measure().standard_errors.p99, measure().standard_errors.p99);
}

}  // namespace
}  // namespace fptq::eval
