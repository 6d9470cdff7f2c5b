#include "algo/hqq.h"

#include <gtest/gtest.h>

#include <cmath>

#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::random_values;

double norm(const std::vector<float>& values, const Grid& grid, int num_bits) {
  double total = 0;
  for (const float value : values) {
    const float left = value - dequantize_value(quantize_value(value, grid, num_bits), grid);
    total += std::pow(std::abs(static_cast<double>(left)), 0.7);
  }
  return total;
}

TEST(Hqq, NeverLosesAgainstTheCoveringGridInItsOwnNorm) {
  for (const std::size_t count : {1u, 5u, 32u, 64u, 130u}) {
    for (const int bits : {4, 8}) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        const std::vector<float> values = random_values(count, seed, 0.5);
        const Grid grid = hqq_grid(values, bits, DType::kF16);
        EXPECT_LE(norm(values, grid, bits),
                  norm(values, minmax_grid(values, bits, false, DType::kF16), bits) * 1.001 + 1e-6);
      }
    }
  }
}

TEST(Hqq, ImprovesMostGroups) {
  int better = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<float> values = random_values(64, seed, 0.05);
    const Grid grid = hqq_grid(values, 4, DType::kF16);
    better +=
        norm(values, grid, 4) < 0.999 * norm(values, minmax_grid(values, 4, false, DType::kF16), 4);
  }
  EXPECT_GT(better, 30);
}

TEST(Hqq, KeepsGroupsThatAreOnAGridOrEmpty) {
  const std::vector<float> zeros(32, 0.0f);
  EXPECT_EQ(hqq_grid(zeros, 4, DType::kF16).scale, kEmptyScale);
  std::vector<float> values;
  for (int code = -8; code <= 7; ++code) values.push_back(static_cast<float>(code + 2) * 0.5f);
  const Grid grid = hqq_grid(values, 4, DType::kF16);
  EXPECT_EQ(grid.scale, 0.5f);
  EXPECT_EQ(grid.zero_point, -2);
}

TEST(RoundRowsByHqq, GivesTheSameBytesForAnyThreads) {
  const std::vector<float> weights = random_values(9 * 70, 3, 0.1);
  QuantizedMatrix one =
      make_quantized_matrix(9, 70, int_weights(4, Strategy::kGroup, 32, false), DType::kF16);
  QuantizedMatrix three = one;
  ThreadPool pool_of_one(1);
  ThreadPool pool_of_three(3);
  const RoundingError error = round_rows_by_hqq(weights, pool_of_one, one);
  EXPECT_EQ(round_rows_by_hqq(weights, pool_of_three, three).squared_error, error.squared_error);
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.scales, three.scales);
  EXPECT_EQ(one.zero_points, three.zero_points);
  EXPECT_LT(error.relative(), 0.02);
}

}  // namespace
}  // namespace fptq::algo
