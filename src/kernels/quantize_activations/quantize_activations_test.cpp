#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/kernel_test_support.h"
#include "kernels/quantize_activations/dispatch.h"
#include "numeric/quantizer.h"

namespace fptq::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

constexpr ActivationGrid kGrids[] = {
    {.symmetric = true, .dynamic = true},
    {.symmetric = false, .dynamic = true},
    {.symmetric = true, .dynamic = false, .static_scale = 0.013f},
    {.symmetric = false, .dynamic = false, .static_scale = 0.013f, .static_zero_point = -37},
};

// Runs a kernel on one row and compares codes, scale, zero point and sums with the definition.
void expect_equals_definition(QuantizeActivationsFn run, const std::vector<float>& row,
                              const ActivationGrid& grid) {
  const std::size_t cols = row.size();
  const std::size_t slabs = slab_count(cols);
  const std::size_t stride = slabs * kSlabCols;
  // Two equal rows: the second must not depend on the first.
  std::vector<float> x = row;
  x.insert(x.end(), row.begin(), row.end());
  std::vector<std::int8_t> codes(2 * stride, 99);
  std::vector<std::int16_t> sums(2 * slabs * 2, 99);
  std::vector<float> scales(2);
  std::vector<std::int32_t> zero_points(2, 99);
  run({x.data(), 2, cols, grid, codes.data(), stride, sums.data(), scales.data(),
       zero_points.data()});

  const QuantizedRow expected =
      grid.dynamic
          ? quantize_row_dynamic(row, grid.symmetric)
          : quantize_row_static(row, {grid.static_scale, grid.static_zero_point}, grid.symmetric);
  for (std::size_t m = 0; m < 2; ++m) {
    if (std::isnan(expected.scale)) {
      ASSERT_TRUE(std::isnan(scales[m]));
    } else {
      ASSERT_EQ(expected.scale, scales[m]);
    }
    ASSERT_EQ(expected.zero_point, zero_points[m]);
    std::vector<int> expected_sums(slabs * 2);
    for (std::size_t k = 0; k < stride; ++k) {
      const int code = k < cols ? expected.codes[k] : 0;
      ASSERT_EQ(code, codes[m * stride + k]) << "row " << m << " input " << k;
      expected_sums[k / kSlabCols * 2 + k % 4 / 2] += code;
    }
    for (std::size_t i = 0; i < slabs * 2; ++i) {
      ASSERT_EQ(expected_sums[i], sums[m * slabs * 2 + i]) << "row " << m << " sum " << i;
    }
  }
}

class QuantizeActivations : public ::testing::TestWithParam<Variant<QuantizeActivationsFn>> {
 protected:
  static void expect_equal(const std::vector<float>& row) {
    for (const ActivationGrid& grid : kGrids) {
      SCOPED_TRACE(::testing::Message() << "cols=" << row.size() << " symmetric=" << grid.symmetric
                                        << " dynamic=" << grid.dynamic);
      expect_equals_definition(GetParam().run, row, grid);
    }
  }
};

TEST_P(QuantizeActivations, EqualsTheDefinitionForEveryLengthAroundASlab) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (std::size_t cols = 1; cols <= 130; ++cols) expect_equal(testing::random_floats(cols, cols));
  for (const std::size_t cols : {576u, 1536u, 8191u}) {
    expect_equal(testing::random_floats(cols, cols, 30.0f));
  }
}

TEST_P(QuantizeActivations, EqualsTheDefinitionForOneSidedAndOutlyingValues) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  std::vector<float> row = testing::random_floats(100, 5);
  for (float& value : row) value = std::abs(value) + 0.5f;
  expect_equal(row);
  for (float& value : row) value = -value;
  expect_equal(row);
  row[37] = 3000.0f;
  expect_equal(row);
  row[99] = 3e38f;  // the range of the asymmetric grid overflows with its opposite
  expect_equal(row);
  row[0] = -3e38f;
  expect_equal(row);
}

TEST_P(QuantizeActivations, RoundsTiesToEven) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  std::vector<float> row(64);
  for (std::size_t k = 0; k < row.size(); ++k) row[k] = static_cast<float>(k) - 31.5f;
  row[10] = 127.0f;  // inverse scale 1: every other value is a tie
  expect_equal(row);
}

TEST_P(QuantizeActivations, MakesZerosOfRowsWithoutRange) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  expect_equal(std::vector<float>(40, 0.0f));
  expect_equal(std::vector<float>(40, -0.0f));
  expect_equal(std::vector<float>(40, 0x1.0p-101f));
  expect_equal(std::vector<float>(40, 0x1.0p-149f));
  expect_equal(std::vector<float>(40, 0x1.0p-100f));
}

TEST_P(QuantizeActivations, KeepsDamageVisible) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const float bad : {kNan, -kNan, kInf, -kInf}) {
    for (const std::size_t at : {0u, 7u, 31u, 40u, 66u}) {
      std::vector<float> row = testing::random_floats(67, 9);
      row[at] = bad;
      expect_equal(row);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, QuantizeActivations,
                         ::testing::ValuesIn(quantize_activations_variants().begin(),
                                             quantize_activations_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
