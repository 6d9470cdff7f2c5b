#include "algo/rounding.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/rng.h"

namespace fptq::algo {
namespace {

// Ordinary weights with the awkward ones among them: zeros, halves of a step, outliers, tiny and
// huge magnitudes, and a whole row of zeros.
std::vector<float> awkward_weights(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> weights(rows * cols);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    float value = static_cast<float>(rng.normal() * 0.05);
    switch (rng.below(12)) {
      case 0:
        value = 0.0f;
        break;
      case 1:
        value = static_cast<float>(static_cast<int>(rng.below(31)) - 15) * 0.5f;
        break;
      case 2:
        value *= 1e-30f;
        break;
      case 3:
        value *= 40.0f;
        break;
      default:
        break;
    }
    weights[i] = value;
  }
  for (std::size_t col = 0; col < cols && rows > 1; ++col) weights[cols + col] = 0.0f;
  if (rows > 2) {
    for (std::size_t col = 0; col < cols; ++col) weights[2 * cols + col] *= 1e38f;
  }
  return weights;
}

// The scheme of the weights and the type of its scales by name, and the width of a row.
using RowCase = std::tuple<std::string_view, std::string_view, std::size_t>;

class RoundRow : public ::testing::TestWithParam<RowCase> {};

std::string row_case_name(const ::testing::TestParamInfo<RowCase>& parameter) {
  const auto& [scheme, scale_type, cols] = parameter.param;
  std::string name(scheme);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name + "_" + std::string(scale_type) + "_" + std::to_string(cols);
}

TEST_P(RoundRow, EqualsTheScalarDefinitionBitForBit) {
  const auto& [scheme, scale_type, cols] = GetParam();
  const QuantArgs args = *parse_scheme(scheme)->weights;
  const DType scale_dtype = *parse_dtype(scale_type);
  const std::size_t rows = 6;
  std::vector<float> weights = awkward_weights(rows, cols, 7 + cols);
  for (float& value : weights) {
    if (std::abs(value) > 1e38f) value = 1e38f;
  }
  const QuantizedMatrix expected = round_to_nearest(weights, rows, cols, args, scale_dtype);
  QuantizedMatrix actual = make_quantized_matrix(rows, cols, args, scale_dtype);
  for (std::size_t row = 0; row < rows; ++row) {
    round_row_to_nearest(std::span(weights).subspan(row * cols, cols), row, actual);
  }
  EXPECT_EQ(actual.codes, expected.codes);
  EXPECT_EQ(actual.scales, expected.scales);
  EXPECT_EQ(actual.zero_points, expected.zero_points);
}

INSTANTIATE_TEST_SUITE_P(
    SchemesAndWidths, RoundRow,
    ::testing::Combine(::testing::Values("w4g32", "w4g32-sym", "w4g128", "w4c-asym", "w8c"),
                       ::testing::Values("F32", "F16", "BF16"),
                       ::testing::Values(1, 15, 31, 32, 33, 127, 128, 129, 288)),
    row_case_name);

TEST(RoundRow, MeasuresWhatDequantizingLoses) {
  const std::size_t cols = 37;
  const std::vector<float> weights = awkward_weights(1, cols, 3);
  QuantizedMatrix matrix =
      make_quantized_matrix(1, cols, int_weights(4, Strategy::kGroup, 32, false), DType::kF16);
  const RoundingError error = round_row_to_nearest(weights, 0, matrix);
  const std::vector<float> kept = dequantize(matrix);
  double squared_error = 0;
  double squared_weight = 0;
  double largest = 0;
  for (std::size_t i = 0; i < cols; ++i) {
    const double difference = static_cast<double>(weights[i]) - static_cast<double>(kept[i]);
    squared_error += difference * difference;
    squared_weight += static_cast<double>(weights[i]) * static_cast<double>(weights[i]);
    largest = std::max(largest, std::abs(difference));
  }
  EXPECT_GT(squared_error, 0);
  // Positions of up to 16 steps are float32, so each error is off by at most 2^-20 steps, where
  // errors are of the order of a step.
  EXPECT_NEAR(error.squared_error, squared_error, 1e-5 * squared_error);
  EXPECT_NEAR(error.squared_weight, squared_weight, 1e-6 * squared_weight);
  EXPECT_NEAR(error.largest_error, largest, 1e-5 * largest);
  EXPECT_NEAR(error.relative(), squared_error / squared_weight,
              1e-5 * squared_error / squared_weight);
}

TEST(RoundRow, MeasuresWeightsThatNoFloat16ScaleReaches) {
  const std::vector<float> weights = {1e30f, -1e30f};
  QuantizedMatrix matrix =
      make_quantized_matrix(1, 2, int_weights(8, Strategy::kChannel, 0, true), DType::kF16);
  const RoundingError error = round_row_to_nearest(weights, 0, matrix);
  EXPECT_NEAR(error.relative(), 1.0, 1e-6);
  EXPECT_NEAR(error.largest_error, 1e30, 1e24);
}

TEST(RoundRow, KeepsZerosExactly) {
  const std::vector<float> weights(48, 0.0f);
  QuantizedMatrix matrix =
      make_quantized_matrix(1, 48, int_weights(4, Strategy::kGroup, 32, false), DType::kF32);
  const RoundingError error = round_row_to_nearest(weights, 0, matrix);
  EXPECT_EQ(dequantize(matrix), weights);
  EXPECT_EQ(error.relative(), 0.0);
}

TEST(ParseRounding, ReadsItsOwnNames) {
  for (const Rounding expected :
       {Rounding::kNearest, Rounding::kSearch, Rounding::kHqq, Rounding::kGptq}) {
    const auto rounding = parse_rounding(rounding_name(expected));
    ASSERT_TRUE(rounding);
    EXPECT_EQ(*rounding, expected);
  }
}

TEST(ParseRounding, RejectsUnknownNames) {
  const auto rounding = parse_rounding("Rtn");
  ASSERT_FALSE(rounding);
  EXPECT_EQ(rounding.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(rounding.error().message, "rounding \"Rtn\": expected rtn, search, hqq or gptq");
}

}  // namespace
}  // namespace fptq::algo
