#include "algo/scale_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::random_values;

constexpr GridForm kSymmetric4{4, true, DType::kF16};

double weighted_error(std::span<const float> values, std::span<const float> importance,
                      const Grid& grid, int num_bits) {
  double total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double left =
        static_cast<double>(values[i]) -
        static_cast<double>(dequantize_value(quantize_value(values[i], grid, num_bits), grid));
    total += (importance.empty() ? 1.0 : static_cast<double>(importance[i])) * left * left;
  }
  return total;
}

std::vector<float> random_importance(std::size_t count, std::uint64_t seed) {
  std::vector<float> importance = random_values(count, seed, 1.0);
  for (float& value : importance) value = std::exp(value);
  return importance;
}

TEST(ScaleSearch, FindsTheGridThatWeightsLieOn) {
  std::vector<float> values;
  for (int code = -8; code <= 7; ++code) values.push_back(static_cast<float>(code) * 0.25f);
  const Grid grid = search_grid(values, {}, kSymmetric4);
  EXPECT_EQ(grid.scale, 0.25f);
  EXPECT_EQ(grid.zero_point, 0);
  for (float& value : values) value = -value;
  EXPECT_EQ(search_grid(values, {}, kSymmetric4).scale, -0.25f);
}

TEST(ScaleSearch, FindsAsymmetricGridsThatWeightsLieOn) {
  std::vector<float> values;
  for (int code = -8; code <= 7; ++code) values.push_back(static_cast<float>(code + 5) * 0.25f);
  const Grid grid = search_grid(values, {}, {4, false, DType::kF16});
  EXPECT_EQ(grid.scale, 0.25f);
  EXPECT_EQ(grid.zero_point, -5);
}

// Scheme of the weights and number of weights in the group.
using Case = std::tuple<int, bool, std::size_t>;
class ScaleSearchProperty : public ::testing::TestWithParam<Case> {};

TEST_P(ScaleSearchProperty, NeverLosesAgainstTheCoveringGrid) {
  const auto& [bits, symmetric, count] = GetParam();
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const std::vector<float> values = random_values(count, 2 * seed, 0.05);
      for (const bool weighted : {false, true}) {
        const std::vector<float> importance =
            weighted ? random_importance(count, 2 * seed + 1) : std::vector<float>{};
        const Grid searched = search_grid(values, importance, {bits, symmetric, dtype});
        const Grid covering = minmax_grid(values, bits, symmetric, dtype);
        EXPECT_EQ(searched.scale, stored_scale(searched.scale, dtype));
        EXPECT_LE(weighted_error(values, importance, searched, bits),
                  weighted_error(values, importance, covering, bits) * (1 + 1e-4) + 1e-12);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Groups, ScaleSearchProperty,
                         ::testing::Combine(::testing::Values(4, 8), ::testing::Bool(),
                                            ::testing::Values(1, 3, 32, 33, 128, 300)));

TEST(ScaleSearch, ComesCloseToTheBestOfAllScales) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> values = random_values(32, seed, 1.0);
    const std::vector<float> importance = random_importance(32, seed + 100);
    double least = std::numeric_limits<double>::infinity();
    for (int i = 1; i <= 4000; ++i) {
      for (const float sign : {-1.0f, 1.0f}) {
        const Grid grid{sign * static_cast<float>(i) * 2e-4f, 0};
        least = std::min(least, weighted_error(values, importance, grid, 4));
      }
    }
    const Grid grid = search_grid(values, importance, kSymmetric4);
    EXPECT_LE(weighted_error(values, importance, grid, 4), 1.25 * least) << seed;
    EXPECT_GE(weighted_error(values, importance, grid, 4), 0.999 * least) << seed;
  }
}

TEST(ScaleSearch, ClipsAnUnimportantOutlier) {
  std::vector<float> values = random_values(128, 5, 0.1);
  std::vector<float> importance(128, 1.0f);
  values[7] = 0.6f;
  importance[7] = 1e-6f;
  const Grid grid = search_grid(values, importance, kSymmetric4);
  EXPECT_LT(std::abs(grid.scale), 0.6f / 8 * 0.75f);
}

TEST(ScaleSearch, FallsBackToTheCoveringGrid) {
  const std::vector<float> zeros(32, 0.0f);
  EXPECT_EQ(search_grid(zeros, {}, kSymmetric4).scale, kEmptyScale);
  const std::vector<float> huge = {3e38f, -3e38f};
  EXPECT_EQ(search_grid(huge, {}, {8, true, DType::kF16}).scale, 65504.0f);
  const std::vector<float> tiny = {1e-40f, -1e-41f};
  EXPECT_GT(search_grid(tiny, {}, {4, true, DType::kF32}).scale, 0.0f);
}

TEST(ScaleSearch, WeighsAllAlikeWhereNothingIsImportant) {
  const std::vector<float> values = random_values(32, 6, 1.0);
  const std::vector<float> nothing(32, 0.0f);
  EXPECT_EQ(search_grid(values, nothing, kSymmetric4).scale,
            search_grid(values, {}, kSymmetric4).scale);
}

TEST(RoundRowsBySearch, RoundsToNearestOnTheSearchedGridsForAnyThreads) {
  constexpr std::size_t kRows = 7;
  constexpr std::size_t kCols = 70;  // the last group is shorter
  const std::vector<float> weights = random_values(kRows * kCols, 7, 0.1);
  const std::vector<float> importance = random_importance(kCols, 8);
  for (const bool symmetric : {true, false}) {
    const QuantArgs args = int_weights(4, Strategy::kGroup, 32, symmetric);
    QuantizedMatrix one = make_quantized_matrix(kRows, kCols, args, DType::kBF16);
    QuantizedMatrix three = one;
    ThreadPool pool_of_one(1);
    ThreadPool pool_of_three(3);
    const RoundingError error = round_rows_by_search(weights, importance, pool_of_one, one);
    const RoundingError same = round_rows_by_search(weights, importance, pool_of_three, three);
    EXPECT_EQ(one.codes, three.codes);
    EXPECT_EQ(one.scales, three.scales);
    EXPECT_EQ(one.zero_points, three.zero_points);
    EXPECT_EQ(error.squared_error, same.squared_error);
    double expected = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const Grid grid = one.grid(i / kCols, i % kCols / 32);
      EXPECT_EQ(one.codes[i], quantize_value(weights[i], grid, 4));
      expected +=
          std::pow(static_cast<double>(weights[i] - dequantize_value(one.codes[i], grid)), 2);
    }
    EXPECT_NEAR(error.squared_error, expected, 1e-4 * expected);
  }
}

}  // namespace
}  // namespace fptq::algo
