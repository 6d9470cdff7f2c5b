#include "ops/activations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/fixed_pack/contract.h"

namespace fptq::ops {
namespace {

constexpr std::size_t kRows = 37;
constexpr std::size_t kCols = 1000;

void write_rows(std::vector<float>& values, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin * kCols; i < end * kCols; ++i) {
    values[i] = std::sin(static_cast<float>(i)) * static_cast<float>(i % 7);
  }
}

void expect_same_codes(const kernels::QuantizedActivations& expected,
                       const kernels::QuantizedActivations& actual) {
  ASSERT_EQ(expected.rows, actual.rows);
  ASSERT_EQ(expected.stride, actual.stride);
  for (std::size_t row = 0; row < expected.rows; ++row) {
    EXPECT_EQ(expected.scales[row], actual.scales[row]);
    for (std::size_t k = 0; k < kCols; ++k) {
      ASSERT_EQ(expected.codes[row * expected.stride + k], actual.codes[row * actual.stride + k])
          << "row " << row << ", column " << k;
    }
  }
}

TEST(LinearInput, QuantizesRowsThatItProducesAsItQuantizesRowsThatExist) {
  std::vector<float> values(kRows * kCols);
  write_rows(values, 0, kRows);
  ThreadPool one(1);
  LinearInput existing(values.data(), kRows, kCols);
  const kernels::ActivationGrid grid{.symmetric = true};
  const auto& expected = existing.quantized(grid, best_isa(), one);
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    ThreadPool pool(threads);
    std::vector<float> made(kRows * kCols);
    LinearInput input;
    input.assign(made.data(), kRows, kCols, grid, best_isa(), pool,
                 [&](std::size_t begin, std::size_t end, float* to) {
                   ASSERT_EQ(&made[begin * kCols], to);
                   write_rows(made, begin, end);
                 });
    EXPECT_EQ(values, made);
    // Other values now: what quantized() returns was made before.
    made.assign(made.size(), 0.0f);
    expect_same_codes(expected, input.quantized(grid, best_isa(), pool));
  }
}

TEST(LinearInput, KeepsOnlyCodesOfRowsThatHaveNoPlace) {
  std::vector<float> values(kRows * kCols);
  write_rows(values, 0, kRows);
  ThreadPool pool(2);
  LinearInput existing(values.data(), kRows, kCols);
  const kernels::ActivationGrid grid{.symmetric = true};
  LinearInput input;
  input.assign(nullptr, kRows, kCols, grid, best_isa(), pool,
               [&](std::size_t begin, std::size_t end, float* to) {
                 std::copy_n(&values[begin * kCols], (end - begin) * kCols, to);
               });
  EXPECT_EQ(nullptr, input.values());
  expect_same_codes(existing.quantized(grid, best_isa(), pool),
                    input.quantized(grid, best_isa(), pool));
}

TEST(LinearInput, ProducesRowsWithoutQuantizingThemWhereNoGridIsGiven) {
  ThreadPool pool(2);
  std::vector<float> made(kRows * kCols);
  LinearInput input;
  input.assign(made.data(), kRows, kCols, std::nullopt, best_isa(), pool,
               [&](std::size_t begin, std::size_t end, float* to) {
                 ASSERT_EQ(&made[begin * kCols], to);
                 write_rows(made, begin, end);
               });
  LinearInput existing(made.data(), kRows, kCols);
  const kernels::ActivationGrid grid{.symmetric = false};
  expect_same_codes(existing.quantized(grid, best_isa(), pool),
                    input.quantized(grid, best_isa(), pool));
}

TEST(LinearInput, RoundsRowsToFixedPointOnceUntilTheyChange) {
  std::vector<float> values(kRows * kCols);
  write_rows(values, 0, kRows);
  const std::size_t stride = kernels::fixed_words(kCols);
  std::vector<std::int32_t> words(kRows * stride);
  std::vector<float> scales(kRows);
  kernels::fixed_pack_scalar({.x = values.data(),
                              .x_stride = kCols,
                              .rows = kRows,
                              .cols = kCols,
                              .by_columns = false,
                              .words = words.data(),
                              .word_stride = stride,
                              .scales = scales.data()});
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    ThreadPool pool(threads);
    LinearInput input(values.data(), kRows, kCols);
    const LinearInput::FixedRows first = input.fixed_point(best_isa(), pool);
    ASSERT_EQ(stride, first.stride);
    EXPECT_EQ(words, std::vector<std::int32_t>(first.words, first.words + words.size()));
    EXPECT_EQ(scales, std::vector<float>(first.scales, first.scales + kRows));
    std::vector<float> others(values.size(), 0.0f);
    others[0] = 1.0f;
    input.assign(others.data(), kRows, kCols);
    const LinearInput::FixedRows& second = input.fixed_point(best_isa(), pool);
    EXPECT_EQ(8127, second.words[0]);
    EXPECT_EQ(0, second.words[1]);
    EXPECT_EQ(0.0f, second.scales[1]);
  }
}

}  // namespace
}  // namespace fptq::ops
