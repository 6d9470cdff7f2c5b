#include "model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace fptq::model {
namespace {

constexpr std::size_t kHeadDim = 16;
constexpr std::size_t kMaxPositions = 8192;

std::vector<float> frequencies(const RopeConfig& config, std::size_t length = 1,
                               std::size_t max_positions = kMaxPositions) {
  return RopeFrequencies(config, kHeadDim, max_positions).inverse_frequencies(length);
}

float scaling(const RopeConfig& config) {
  return RopeFrequencies(config, kHeadDim, kMaxPositions).attention_scaling();
}

// theta ^ (-2 i / Dh)
double plain(double theta, std::size_t i) {
  return std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(kHeadDim));
}

// At most eight float32 operations, each within half a unit in the last place, lie between the
// formula and a frequency: 8 * 2^-24 = 2^-21.
void expect_near(const std::vector<double>& expected, const std::vector<float>& found) {
  ASSERT_EQ(expected.size(), found.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(expected[i], static_cast<double>(found[i]), expected[i] * 0x1p-21) << "pair " << i;
  }
}

RopeConfig yarn() {
  RopeConfig config;
  config.kind = RopeKind::kYarn;
  config.factor = 4.0;
  config.original_max_positions = 2048;
  return config;
}

TEST(RopeTable, FallsGeometricallyWithoutScaling) {
  RopeConfig config;
  config.theta = 500000.0;
  std::vector<double> expected;
  for (std::size_t i = 0; i < kHeadDim / 2; ++i) expected.push_back(plain(500000.0, i));
  expect_near(expected, frequencies(config));
  EXPECT_EQ(frequencies(config), frequencies(config, 100 * kMaxPositions));
  EXPECT_EQ(1.0f, scaling(config));
}

TEST(RopeTable, DividesEveryFrequencyWhereScalingIsLinear) {
  RopeConfig config;
  config.kind = RopeKind::kLinear;
  config.factor = 2.5;
  std::vector<double> expected;
  for (std::size_t i = 0; i < kHeadDim / 2; ++i) expected.push_back(plain(10000.0, i) / 2.5);
  expect_near(expected, frequencies(config));
  EXPECT_EQ(1.0f, scaling(config));
}

TEST(RopeTable, RaisesThetaOnlyBeyondTheContextWhereScalingIsDynamic) {
  RopeConfig config;
  config.kind = RopeKind::kDynamic;
  config.factor = 2.0;
  std::vector<double> within;
  for (std::size_t i = 0; i < kHeadDim / 2; ++i) within.push_back(plain(10000.0, i));
  expect_near(within, frequencies(config, 1));
  EXPECT_EQ(frequencies(config, 1), frequencies(config, kMaxPositions));

  // theta' = theta * (factor * length / context - (factor - 1)) ^ (Dh / (Dh - 2)), at three times
  // the context: theta * 5 ^ (16 / 14).
  const double theta = 10000.0 * std::pow(5.0, 16.0 / 14.0);
  std::vector<double> beyond;
  for (std::size_t i = 0; i < kHeadDim / 2; ++i) beyond.push_back(plain(theta, i));
  expect_near(beyond, frequencies(config, 3 * kMaxPositions));
  EXPECT_EQ(1.0f, scaling(config));
}

TEST(RopeTable, StretchesLongWavesAndMixesMiddleOnesOfLlama3) {
  RopeConfig config;
  config.kind = RopeKind::kLlama3;
  config.theta = 500000.0;
  config.factor = 8.0;
  config.low_freq_factor = 1.0;
  config.high_freq_factor = 4.0;
  config.original_max_positions = 8192;
  std::vector<double> expected;
  std::size_t kept = 0;
  std::size_t mixed = 0;
  std::size_t stretched = 0;
  for (std::size_t i = 0; i < kHeadDim / 2; ++i) {
    const double frequency = plain(500000.0, i);
    const double turns = 8192.0 * frequency / (2.0 * std::numbers::pi);  // over the context
    if (turns > 4.0) {
      expected.push_back(frequency);
      ++kept;
    } else if (turns < 1.0) {
      expected.push_back(frequency / 8.0);
      ++stretched;
    } else {
      const double smooth = (turns - 1.0) / (4.0 - 1.0);
      expected.push_back((1.0 - smooth) * frequency / 8.0 + smooth * frequency);
      ++mixed;
    }
  }
  EXPECT_EQ(4U, kept);
  EXPECT_EQ(1U, mixed);
  EXPECT_EQ(3U, stretched);
  expect_near(expected, frequencies(config));
  EXPECT_EQ(1.0f, scaling(config));
}

// transformers 5.23.0's _compute_yarn_parameters, run once on numpy's float32, gave the literals of
// YaRN below, for a head of 16, theta 10000, factor 4 and an original context of 2048.

TEST(RopeTable, MixesWholeChannelsOfYarn) {
  expect_near(
      {1.0, 0.3162277638912201, 0.10000000149011612, 0.025693506002426147, 0.00624999962747097,
       0.0013834965648129582, 0.0002500000118743628, 7.905694656074047e-05},
      frequencies(yarn()));
  EXPECT_FLOAT_EQ(1.138629436111989f, scaling(yarn()));  // 0.1 * ln 4 + 1
}

TEST(RopeTable, MixesFromFractionsOfChannelsWhereYarnDoesNotTruncate) {
  RopeConfig config = yarn();
  config.truncate = false;
  expect_near(
      {1.0, 0.3162277638912201, 0.10000000149011612, 0.02387019619345665, 0.005056971684098244,
       0.0008112904615700245, 0.0002500000118743628, 7.905694656074047e-05},
      frequencies(config));
}

TEST(RopeTable, KeepsTheFrequenciesOfYarnAtAFactorOfOne) {
  RopeConfig config = yarn();
  config.factor = 1.0;
  std::vector<double> expected;
  for (std::size_t i = 0; i < kHeadDim / 2; ++i) expected.push_back(plain(10000.0, i));
  expect_near(expected, frequencies(config));
  EXPECT_EQ(1.0f, scaling(config));
}

TEST(RopeTable, TakesYarnsAttentionFactorBeforeItsMscales) {
  RopeConfig config = yarn();
  config.mscale = 0.707;
  config.mscale_all_dim = 1.0;
  // (0.0707 * ln 4 + 1) / (0.1 * ln 4 + 1)
  EXPECT_FLOAT_EQ(0.964326914892074f, scaling(config));
  config.attention_factor = 0.75;
  EXPECT_EQ(0.75f, scaling(config));
  EXPECT_EQ(frequencies(yarn()), frequencies(config));
}

TEST(RopeTable, IgnoresAnMscaleOfYarnThatStandsAloneOrIsZero) {
  for (const double all_dims : {-1.0, 0.0}) {
    RopeConfig config = yarn();
    config.mscale = 0.707;
    if (all_dims == 0.0) config.mscale_all_dim = all_dims;
    EXPECT_FLOAT_EQ(1.138629436111989f, scaling(config));
  }
}

TEST(RopeTable, MultipliesCosinesAndSinesOfYarnWithItsAttentionFactor) {
  RopeConfig config = yarn();
  config.attention_factor = 0.5;
  const RopeFrequencies rope(config, kHeadDim, kMaxPositions);
  const std::vector<float> inverse = rope.inverse_frequencies(1);
  std::vector<float> cos(inverse.size());
  std::vector<float> sin(inverse.size());
  rope.angles(3, inverse, cos.data(), sin.data());
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    const double angle = 3.0 * static_cast<double>(inverse[i]);
    EXPECT_NEAR(0.5 * std::cos(angle), cos[i], 0x1p-22);
    EXPECT_NEAR(0.5 * std::sin(angle), sin[i], 0x1p-22);
  }
}

}  // namespace
}  // namespace fptq::model
