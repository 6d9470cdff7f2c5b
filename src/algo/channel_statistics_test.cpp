#include "algo/channel_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"

namespace fptq::algo {
namespace {

using Floats = std::vector<float>;

Floats random_rows(std::size_t rows, std::size_t channels, std::uint64_t seed) {
  Rng rng(seed);
  Floats values(rows * channels);
  for (float& value : values) value = static_cast<float>(rng.normal() * std::exp(rng.normal()));
  return values;
}

Floats as_vector(std::span<const float> values) {
  return {values.begin(), values.end()};
}
std::vector<double> as_vector(std::span<const double> values) {
  return {values.begin(), values.end()};
}

void expect_equal(const ChannelStatistics& actual, const ChannelStatistics& expected) {
  EXPECT_EQ(actual.rows(), expected.rows());
  EXPECT_EQ(as_vector(actual.absmax()), as_vector(expected.absmax()));
  EXPECT_EQ(as_vector(actual.min()), as_vector(expected.min()));
  EXPECT_EQ(as_vector(actual.max()), as_vector(expected.max()));
  EXPECT_EQ(as_vector(actual.sum_squares()), as_vector(expected.sum_squares()));
  EXPECT_EQ(actual.mean_abs(), expected.mean_abs());
  EXPECT_EQ(actual.histogram(), expected.histogram());
}

TEST(ChannelStatistics, DescribeEachChannel) {
  ChannelStatistics statistics(3);
  const Floats first = {1.0f, -2.0f, 0.0f, 3.0f, -4.0f, 0.0f};
  const Floats second = {-5.0f, -6.0f, 0.0f};
  ASSERT_TRUE(statistics.add(first.data(), 2));
  ASSERT_TRUE(statistics.add(second.data(), 1));
  EXPECT_EQ(statistics.rows(), 3u);
  EXPECT_EQ(as_vector(statistics.absmax()), (Floats{5.0f, 6.0f, 0.0f}));
  EXPECT_EQ(as_vector(statistics.min()), (Floats{-5.0f, -6.0f, 0.0f}));
  EXPECT_EQ(as_vector(statistics.max()), (Floats{3.0f, -2.0f, 0.0f}));
  EXPECT_EQ(as_vector(statistics.sum_squares()), (std::vector<double>{35.0, 56.0, 0.0}));
  EXPECT_EQ(statistics.mean_abs(), (Floats{3.0f, 4.0f, 0.0f}));
  EXPECT_EQ(statistics.tensor_absmax(), 6.0f);
  EXPECT_EQ(statistics.tensor_min(), -6.0f);
  EXPECT_EQ(statistics.tensor_max(), 3.0f);
}

TEST(ChannelStatistics, AreZeroWithoutRows) {
  ChannelStatistics statistics(2);
  ASSERT_TRUE(statistics.add(nullptr, 0));
  EXPECT_EQ(statistics.rows(), 0u);
  EXPECT_EQ(statistics.mean_abs(), (Floats{0.0f, 0.0f}));
  EXPECT_EQ(statistics.tensor_absmax(), 0.0f);
  EXPECT_EQ(statistics.histogram().total(), 0u);
}

TEST(ChannelStatistics, CountMagnitudesByTheirLogarithm) {
  ChannelStatistics statistics(7);
  const Floats values = {0.0f, -1.0f, 1.999f, 2.0f, 1e-40f, -3e38f, 0x1p-40f};
  ASSERT_TRUE(statistics.add(values.data(), 1));
  const MagnitudeHistogram histogram = statistics.histogram();
  EXPECT_EQ(histogram.zeros, 1u);
  EXPECT_EQ(histogram.counts[40], 2u);  // 1 <= |x| < 2
  EXPECT_EQ(histogram.counts[41], 1u);
  EXPECT_EQ(histogram.counts[0], 2u);   // a subnormal, and the bin's own lower end
  EXPECT_EQ(histogram.counts[63], 1u);  // above 2^24
  EXPECT_EQ(histogram.total(), 7u);
}

class ChannelCounts : public ::testing::TestWithParam<std::size_t> {};

TEST_P(ChannelCounts, GiveTheSameBitsForAnyThreadsAndAnyCalls) {
  const std::size_t channels = GetParam();
  const Floats values = random_rows(9, channels, channels);
  ChannelStatistics whole(channels);
  ASSERT_TRUE(whole.add(values.data(), 9));
  ThreadPool pool(3);
  ChannelStatistics threaded(channels);
  ASSERT_TRUE(threaded.add(values.data(), 4, pool));
  ASSERT_TRUE(threaded.add(values.data() + 4 * channels, 5, pool));
  expect_equal(threaded, whole);
  EXPECT_EQ(whole.histogram().total(), 9 * channels);
}

INSTANTIATE_TEST_SUITE_P(AroundABlock, ChannelCounts, ::testing::Values(1, 63, 64, 65, 128, 200));

TEST(ChannelStatistics, MergeToWhatOneWouldHaveSeen) {
  // Multiples of 1/8 below 2^10: sums are exact, so that their order does not matter.
  Floats values = random_rows(10, 70, 5);
  for (float& value : values) value = std::round(value * 8.0f) / 8.0f;
  ChannelStatistics whole(70);
  ASSERT_TRUE(whole.add(values.data(), 10));
  ChannelStatistics merged(70);
  ChannelStatistics first(70);
  ChannelStatistics second(70);
  ASSERT_TRUE(first.add(values.data(), 3));
  ASSERT_TRUE(second.add(values.data() + 210, 7));
  merged.merge(first);
  merged.merge(second);
  merged.merge(ChannelStatistics(70));
  expect_equal(merged, whole);
}

TEST(ChannelStatistics, NameTheFirstChannelThatIsNotFinite) {
  ThreadPool pool(2);
  ChannelStatistics statistics(130);
  Floats values(3 * 130, 1.0f);
  ASSERT_TRUE(statistics.add(values.data(), 3, pool));
  values[129] = -std::numeric_limits<float>::infinity();
  values[2 * 130 + 70] = std::numeric_limits<float>::quiet_NaN();
  const Status status = statistics.add(values.data(), 3, pool);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(status.error().message, "channel 70: expected finite activations, got nan in row 5");
}

TEST(ChannelStatistics, HoldTheLargestFloats) {
  ChannelStatistics statistics(1);
  const Floats values(4, std::numeric_limits<float>::max());
  ASSERT_TRUE(statistics.add(values.data(), 4));
  EXPECT_EQ(statistics.mean_abs()[0], std::numeric_limits<float>::max());
  EXPECT_TRUE(std::isfinite(statistics.sum_squares()[0]));
}

}  // namespace
}  // namespace fptq::algo
