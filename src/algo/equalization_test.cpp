#include "algo/equalization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"

namespace fptq::algo {
namespace {

using Floats = std::vector<float>;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(LaeScales, FollowTheFormula) {
  // 6 / log2(8), 14 / log2(16), 1022 / log2(1024), 2 / log2(4)
  const auto scales = lae_scales(Floats{6.0f, 14.0f, 1022.0f, 2.0f});
  ASSERT_TRUE(scales) << scales.error().message;
  EXPECT_EQ(*scales, (Floats{2.0f, 3.5f, 102.2f, 1.0f}));
}

TEST(LaeScales, LeaveADeadChannelAsItIs) {
  EXPECT_EQ(*lae_scales(Floats{0.0f, 6.0f}), (Floats{1.0f, 2.0f}));
  EXPECT_EQ(lae_scales({})->size(), 0u);
}

TEST(LaeScales, ArePositiveForTheSmallestAndTheLargestRange) {
  const Floats ranges = {std::numeric_limits<float>::denorm_min(),
                         std::numeric_limits<float>::max()};
  const Floats scales = *lae_scales(ranges);
  for (const float scale : scales) {
    EXPECT_GT(scale, 0.0f);
    EXPECT_TRUE(std::isfinite(scale));
  }
}

TEST(LaeScales, NameTheChannelThatIsNotFinite) {
  const auto nan = lae_scales(Floats{1.0f, kNan});
  ASSERT_FALSE(nan);
  EXPECT_EQ(nan.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(nan.error().message, "lae_scales: channel 1: absmax must be finite and >= 0, got nan");
  EXPECT_EQ(lae_scales(Floats{kInf}).error().message,
            "lae_scales: channel 0: absmax must be finite and >= 0, got inf");
  EXPECT_EQ(lae_scales(Floats{0.0f, 1.0f, -2.0f}).error().message,
            "lae_scales: channel 2: absmax must be finite and >= 0, got -2.000000");
}

TEST(SmoothQuantScales, FollowTheFormula) {
  // sqrt(16) / sqrt(4); alpha 1 takes activations alone, alpha 0 weights alone.
  EXPECT_EQ(*smoothquant_scales(Floats{16.0f}, Floats{4.0f}, 0.5), Floats{2.0f});
  EXPECT_EQ(*smoothquant_scales(Floats{16.0f}, Floats{4.0f}, 1.0), Floats{16.0f});
  EXPECT_EQ(*smoothquant_scales(Floats{16.0f}, Floats{4.0f}, 0.0), Floats{0.25f});
}

TEST(SmoothQuantScales, GuardDeadChannels) {
  EXPECT_EQ(*smoothquant_scales(Floats{0.0f, 8.0f, 0.0f}, Floats{4.0f, 0.0f, 0.0f}, 0.5),
            (Floats{1.0f, 8.0f, 1.0f}));
}

TEST(SmoothQuantScales, NameWhatIsWrong) {
  const Floats ones = {1.0f, 1.0f};
  EXPECT_EQ(smoothquant_scales(ones, ones, 1.5).error().message,
            "smoothquant_scales: alpha: expected a number from 0 to 1, got 1.500000");
  EXPECT_EQ(smoothquant_scales(ones, Floats{1.0f}, 0.5).error().message,
            "smoothquant_scales: expected one weight_absmax per channel, got 1 for 2 channels");
  EXPECT_EQ(smoothquant_scales(ones, Floats{1.0f, kNan}, 0.5).error().message,
            "smoothquant_scales: channel 1: weight absmax must be finite and >= 0, got nan");
  EXPECT_EQ(smoothquant_scales(Floats{kInf, 1.0f}, ones, 0.5).error().message,
            "smoothquant_scales: channel 0: activation absmax must be finite and >= 0, got inf");
  const auto huge = smoothquant_scales(Floats{1.0f}, Floats{1e-40f}, 0.0);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().message,
            "smoothquant_scales: channel 0: expected a factor that float32 can hold, got one of "
            "2^132");
}

TEST(AwqScales, AreNormalizedByTheirExtremes) {
  // 16^0.5 = 4, 1, 4^0.5 = 2; sqrt(4 * 1) = 2
  EXPECT_EQ(*awq_scales(Floats{16.0f, 1.0f, 4.0f}, 0.5), (Floats{2.0f, 0.5f, 1.0f}));
  EXPECT_EQ(*awq_scales(Floats{16.0f, 1.0f, 4.0f}, 0.0), (Floats{1.0f, 1.0f, 1.0f}));
}

TEST(AwqScales, KeepDeadChannelsOutOfTheExtremes) {
  EXPECT_EQ(*awq_scales(Floats{16.0f, 0.0f, 1.0f}, 0.5), (Floats{2.0f, 1.0f, 0.5f}));
  EXPECT_EQ(*awq_scales(Floats{0.0f}, 0.5), Floats{1.0f});
}

TEST(AwqScales, NameWhatIsWrong) {
  EXPECT_EQ(awq_scales(Floats{1.0f}, -0.5).error().message,
            "awq_scales: ratio: expected a number from 0 to 1, got -0.500000");
  EXPECT_EQ(awq_scales(Floats{1.0f, kInf}, 0.5).error().message,
            "awq_scales: channel 1: mean |x| must be finite and >= 0, got inf");
}

// The loss of each of the 20 ratios by its place in the grid.
ScaleLoss scripted(const std::vector<double>& losses, std::size_t& calls) {
  return [&losses, &calls](std::span<const float>) -> Result<double> { return losses[calls++]; };
}

TEST(SearchAwq, TakesTheSmallestRatioOfTheLeastLoss) {
  std::vector<double> losses(kAwqGrid, 5.0);
  losses[7] = 2.0;
  losses[12] = 2.0;
  std::size_t calls = 0;
  const Floats mean = {16.0f, 1.0f};
  const auto choice = search_awq(mean, scripted(losses, calls));
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_EQ(calls, kAwqGrid);
  EXPECT_DOUBLE_EQ(choice->ratio, 0.35);
  EXPECT_EQ(choice->loss, 2.0);
  EXPECT_EQ(choice->unscaled_loss, 5.0);
  EXPECT_EQ(choice->scales, *awq_scales(mean, 0.35));
}

TEST(SearchAwq, DoesNotScaleWhereNothingIsGained) {
  const std::vector<double> losses(kAwqGrid, 1.0);
  std::size_t calls = 0;
  const auto choice = search_awq(Floats{16.0f, 1.0f}, scripted(losses, calls));
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_EQ(choice->ratio, 0.0);
  EXPECT_EQ(choice->scales, (Floats{1.0f, 1.0f}));
}

TEST(SearchAwq, NamesTheRatioWithoutALoss) {
  std::vector<double> losses(kAwqGrid, 1.0);
  losses[2] = std::nan("");
  std::size_t calls = 0;
  const auto choice = search_awq(Floats{1.0f}, scripted(losses, calls));
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().message,
            "search_awq: ratio 0.100000: expected a loss that is finite and >= 0, got nan");
  const auto failed = search_awq(Floats{1.0f}, [](std::span<const float>) -> Result<double> {
    return Error{Error::Kind::kInterrupted, "stopped"};
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind, Error::Kind::kInterrupted);
}

TEST(RaiseScales, LeavesLargerOnes) {
  Floats scales = {1e-30f, 1e-5f, 3.0f};
  raise_scales(scales);
  EXPECT_EQ(scales, (Floats{1e-5f, 1e-5f, 3.0f}));
}

TEST(UpdateColumnAbsmax, GathersOverLinears) {
  Floats absmax(2, 0.0f);
  update_column_absmax(Floats{1.0f, -4.0f, -2.0f, 3.0f}, absmax);
  EXPECT_EQ(absmax, (Floats{2.0f, 4.0f}));
  update_column_absmax(Floats{-7.0f, 0.5f}, absmax);
  EXPECT_EQ(absmax, (Floats{7.0f, 4.0f}));
}

TEST(ScaleColumns, MultipliesEveryRow) {
  Floats weights = {1.0f, 2.0f, 3.0f, 4.0f};
  scale_columns(weights, Floats{2.0f, 0.5f});
  EXPECT_EQ(weights, (Floats{2.0f, 1.0f, 6.0f, 2.0f}));
}

TEST(DivideByScales, KeepsAWeightOfZero) {
  Floats norm = {0.0f, 3.0f};
  ASSERT_TRUE(divide_by_scales(norm, Floats{4.0f, 2.0f}));
  EXPECT_EQ(norm, (Floats{0.0f, 1.5f}));
}

TEST(DivideByScales, NamesTheChannelThatOverflows) {
  Floats norm = {1.0f, 10.0f};
  const Status status = divide_by_scales(norm, Floats{1.0f, 1e-38f});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "channel 1: 10.000000 / 0.000000: expected a quotient that float32 can hold");
  EXPECT_EQ(norm, (Floats{1.0f, 10.0f}));
}

TEST(DivideRowsByScales, DividesEachRowByItsOwn) {
  Floats weights = {1.0f, 2.0f, 3.0f, 4.0f};
  ASSERT_TRUE(divide_rows_by_scales(weights, Floats{2.0f, 0.5f}));
  EXPECT_EQ(weights, (Floats{0.5f, 1.0f, 6.0f, 8.0f}));
  EXPECT_FALSE(divide_rows_by_scales(weights, Floats{1.0f, 1e-39f}));
}

// |y - y'| <= 4 K eps sum |x g w|: each of the two products rounds x * g / s and w * s once more
// than the other, and adds K terms.
TEST(Equalization, LeavesTheProductUnchangedToRounding) {
  constexpr std::size_t kTokens = 5;
  constexpr std::size_t kChannels = 48;
  constexpr std::size_t kOutputs = 7;
  Rng rng(11);
  Floats x(kTokens * kChannels);
  Floats norm(kChannels);
  Floats weights(kOutputs * kChannels);
  for (float& value : x) value = static_cast<float>(rng.normal());
  for (float& value : norm) value = static_cast<float>(std::exp(2.0 * rng.normal()));
  for (float& value : weights) value = static_cast<float>(0.1 * rng.normal());
  norm[5] = 0.0f;
  Floats absmax(kChannels, 0.0f);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t k = i % kChannels;
    absmax[k] = std::max(absmax[k], std::abs(x[i] * norm[k]));
  }
  const Floats scales = *lae_scales(absmax);
  Floats scaled_norm = norm;
  Floats scaled_weights = weights;
  ASSERT_TRUE(divide_by_scales(scaled_norm, scales));
  scale_columns(scaled_weights, scales);
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t n = 0; n < kOutputs; ++n) {
      float expected = 0.0f;
      float actual = 0.0f;
      float magnitude = 0.0f;
      for (std::size_t k = 0; k < kChannels; ++k) {
        const float value = x[t * kChannels + k];
        expected += value * norm[k] * weights[n * kChannels + k];
        actual += value * scaled_norm[k] * scaled_weights[n * kChannels + k];
        magnitude += std::abs(value * norm[k] * weights[n * kChannels + k]);
      }
      const float bound = 4.0f * kChannels * std::numeric_limits<float>::epsilon() * magnitude;
      EXPECT_NEAR(actual, expected, bound) << "token " << t << ", output " << n;
    }
  }
}

}  // namespace
}  // namespace fptq::algo
