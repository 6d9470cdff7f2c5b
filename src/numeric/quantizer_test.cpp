#include "numeric/quantizer.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace fptq {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(MinmaxGrid, SymmetricScaleIsTheLargestMagnitudeOverSevenAndAHalf) {
  const Grid grid = minmax_grid(std::array{-3.0f, 1.0f, 2.5f}, 4, true, DType::kF32);
  EXPECT_EQ(3.0f / 7.5f, grid.scale);
  EXPECT_EQ(0, grid.zero_point);
  EXPECT_EQ(3.0f / 127.5f, minmax_grid(std::array{3.0f}, 8, true, DType::kF32).scale);
}

TEST(MinmaxGrid, AsymmetricRangeContainsZero) {
  // 1..16 is widened to 0..16: the step is 16/15 and zero is the lowest code.
  const Grid positive = minmax_grid(std::array{1.0f, 16.0f}, 4, false, DType::kF32);
  EXPECT_EQ(16.0f / 15.0f, positive.scale);
  EXPECT_EQ(-8, positive.zero_point);
  const Grid negative = minmax_grid(std::array{-30.0f, -1.0f}, 4, false, DType::kF32);
  EXPECT_EQ(2.0f, negative.scale);
  EXPECT_EQ(7, negative.zero_point);
  const Grid both = minmax_grid(std::array{-3.0f, 12.0f}, 4, false, DType::kF32);
  EXPECT_EQ(1.0f, both.scale);
  EXPECT_EQ(-5, both.zero_point);
}

TEST(MinmaxGrid, ScaleIsRoundedToItsStoredType) {
  EXPECT_EQ(f16_to_f32(f32_to_f16(0.1f / 7.5f)),
            minmax_grid(std::array{0.1f}, 4, true, DType::kF16).scale);
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(0.1f / 7.5f)),
            minmax_grid(std::array{0.1f}, 4, true, DType::kBF16).scale);
}

TEST(MinmaxGrid, ScaleIsNeverZeroOrInfinite) {
  for (const bool symmetric : {true, false}) {
    EXPECT_EQ(kEmptyScale, minmax_grid(std::array{0.0f, 0.0f}, 4, symmetric, DType::kF16).scale);
    EXPECT_EQ(kEmptyScale, minmax_grid(std::array{1e-12f}, 4, symmetric, DType::kF16).scale);
    EXPECT_EQ(65504.0f, minmax_grid(std::array{1e9f}, 4, symmetric, DType::kF16).scale);
  }
  EXPECT_EQ(kEmptyScale, f16_to_f32(f32_to_f16(kEmptyScale)));
}

TEST(QuantizeValue, RoundsTiesToEvenAndClamps) {
  const Grid grid{2.0f, 0};
  EXPECT_EQ(0, quantize_value(1.0f, grid, 4));
  EXPECT_EQ(2, quantize_value(3.0f, grid, 4));
  EXPECT_EQ(2, quantize_value(5.0f, grid, 4));
  EXPECT_EQ(7, quantize_value(100.0f, grid, 4));
  EXPECT_EQ(-8, quantize_value(-100.0f, grid, 4));
  EXPECT_EQ(7, quantize_value(3e38f, Grid{1e-5f, -8}, 4));
}

TEST(RoundToNearest, ErrorStaysWithinHalfAStepInsideTheRange) {
  Rng rng(1);
  const std::size_t rows = 5;
  const std::size_t cols = 100;  // three groups of 32 and one of 4
  std::vector<float> weights(rows * cols);
  for (float& weight : weights) weight = static_cast<float>(rng.normal());
  for (const int num_bits : {4, 8}) {
    const auto matrix = round_to_nearest(
        weights, rows, cols, int_weights(num_bits, Strategy::kGroup, 32, false), DType::kF32);
    ASSERT_EQ(4U, matrix.groups());
    const std::vector<float> restored = dequantize(matrix);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const Grid grid = matrix.grid(i / cols, i % cols / 32);
      // The zero point is rounded too, which can cut half a step off one end of the range.
      EXPECT_LE(std::abs(weights[i] - restored[i]), grid.scale * 1.0001f) << "weight " << i;
    }
  }
}

TEST(RoundToNearest, SymmetricGridIsHalfAStepAwayExceptAtTheClampedEnd) {
  const std::array weights = {-7.5f, -3.2f, 0.4f, 7.5f};
  const auto matrix =
      round_to_nearest(weights, 1, 4, int_weights(4, Strategy::kChannel, 0, true), DType::kF32);
  EXPECT_EQ((std::vector<std::int8_t>{-8, -3, 0, 7}), matrix.codes);
  EXPECT_EQ(1.0f, matrix.scales[0]);
  EXPECT_TRUE(matrix.zero_points.empty());
}

TEST(RoundToNearest, GroupOfZerosRestoresToExactZeros) {
  const std::vector<float> weights(64, 0.0f);
  for (const bool symmetric : {true, false}) {
    const auto matrix = round_to_nearest(
        weights, 1, 64, int_weights(4, Strategy::kGroup, 32, symmetric), DType::kBF16);
    EXPECT_EQ(weights, dequantize(matrix));
  }
}

TEST(QuantizeRowDynamic, SymmetricCodesSpanPlusMinus127) {
  const QuantizedRow row = quantize_row_dynamic(std::array{-2.0f, 0.0f, 1.0f, 2.0f}, true);
  EXPECT_EQ(2.0f / 127.0f, row.scale);
  EXPECT_EQ((std::vector<std::int8_t>{-127, 0, 64, 127}), row.codes);
}

TEST(QuantizeRowDynamic, AsymmetricCodesSpanTheWholeByte) {
  const QuantizedRow row = quantize_row_dynamic(std::array{0.0f, 51.0f, 255.0f}, false);
  EXPECT_EQ(1.0f, row.scale);
  EXPECT_EQ(-128, row.zero_point);
  EXPECT_EQ((std::vector<std::int8_t>{-128, -77, 127}), row.codes);
}

TEST(QuantizeRowDynamic, MinusOneHundredTwentyEightNeverAppearsInSymmetricRows) {
  Rng rng(2);
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::vector<float> values(64);
    for (float& value : values) value = static_cast<float>(rng.normal() * std::exp(rng.normal()));
    for (const std::int8_t code : quantize_row_dynamic(values, true).codes) EXPECT_GE(code, -127);
  }
}

TEST(QuantizeRowDynamic, RowsWithoutMagnitudeBecomeZeros) {
  for (const float value : {0.0f, -0.0f, 1e-35f, std::numeric_limits<float>::denorm_min()}) {
    for (const bool symmetric : {true, false}) {
      const QuantizedRow row = quantize_row_dynamic(std::array{value, 0.0f}, symmetric);
      EXPECT_EQ(kEmptyScale, row.scale);
      EXPECT_EQ(0, row.zero_point);
      EXPECT_EQ((std::vector<std::int8_t>{0, 0}), row.codes);
    }
  }
}

TEST(QuantizeRowDynamic, RowsThatAreNotFiniteKeepANanScale) {
  for (const float value : {kNan, kInfinity, -kInfinity}) {
    for (const bool symmetric : {true, false}) {
      EXPECT_TRUE(std::isnan(quantize_row_dynamic(std::array{1.0f, value}, symmetric).scale));
    }
  }
}

TEST(QuantizeRowStatic, ClampsToTheGrid) {
  const std::array values = {-1000.0f, -1.0f, 0.5f, 1000.0f};
  const QuantizedRow symmetric = quantize_row_static(values, Grid{1.0f, 0}, true);
  EXPECT_EQ((std::vector<std::int8_t>{-127, -1, 0, 127}), symmetric.codes);
  const QuantizedRow asymmetric = quantize_row_static(values, Grid{1.0f, 10}, false);
  EXPECT_EQ((std::vector<std::int8_t>{-128, 9, 10, 127}), asymmetric.codes);
}

TEST(StaticScale, IsANormalNumberWithANormalInverse) {
  EXPECT_EQ(static_symmetric_scale(254.0f), 2.0f);
  for (const float nothing : {0.0f, 1e-44f, 1e-37f, std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(static_symmetric_scale(nothing), kEmptyScale) << nothing;
  }
}

}  // namespace
}  // namespace fptq
