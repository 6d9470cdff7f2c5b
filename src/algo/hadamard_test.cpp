#include "algo/hadamard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "algo/paley.h"
#include "base/rng.h"

namespace fptq::algo {
namespace {

using Floats = std::vector<float>;

Floats random_values(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  Floats values(count);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

double largest_difference(const Floats& a, const Floats& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  }
  return largest;
}

double norm(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

class PaleyOrder : public ::testing::TestWithParam<std::size_t> {};

// Entries are whole numbers, so float sums are exact.
TEST_P(PaleyOrder, HasOrthogonalRowsOfOnes) {
  const std::size_t order = GetParam();
  const auto matrix = paley_matrix(order);
  ASSERT_TRUE(matrix);
  ASSERT_EQ(matrix->size(), order * order);
  ASSERT_TRUE(std::all_of(matrix->begin(), matrix->end(), [](float x) { return x * x == 1.0f; }));
  for (std::size_t i = 0; i < order; ++i) {
    for (std::size_t j = i; j < order; ++j) {
      float sum = 0.0f;
      for (std::size_t k = 0; k < order; ++k) {
        sum += (*matrix)[i * order + k] * (*matrix)[j * order + k];
      }
      ASSERT_EQ(sum, i == j ? static_cast<float>(order) : 0.0f) << "rows " << i << " and " << j;
    }
  }
}

// 28 is Paley I over 27 elements, 344 over 343; 36, 52 and 76 are Paley II, 52 over 25 elements.
INSTANTIATE_TEST_SUITE_P(Orders, PaleyOrder,
                         ::testing::Values(4, 8, 12, 20, 28, 36, 44, 52, 60, 76, 108, 140, 344));

TEST(PaleyMatrix, SaysWhereThereIsNone) {
  for (const std::size_t order : {0u, 1u, 2u, 3u, 6u, 14u, 81u, 92u, 172u}) {
    EXPECT_FALSE(paley_matrix(order)) << order;
  }
}

struct WidthCase {
  std::size_t width;
  std::size_t block;
  std::size_t paley;
};

class RotationOfWidth : public ::testing::TestWithParam<WidthCase> {};

TEST_P(RotationOfWidth, IsUndoneByItsTransposeAndKeepsLengths) {
  const auto [width, block, paley] = GetParam();
  ThreadPool pool(1);
  const Rotation rotation(width, 3);
  EXPECT_EQ(rotation.width(), width);
  EXPECT_EQ(rotation.block(), block);
  EXPECT_EQ(rotation.paley_order(), paley);
  const Floats before = random_values(2 * width, width);
  Floats rows = before;
  rotation.apply(rows, pool);
  // Every sum of B terms rounds at most B times, usually sqrt(B) and less: 64 eps is far off a
  // wrong sign, which gives a difference of about 1.
  const double tolerance = 64.0 * std::numeric_limits<float>::epsilon();
  const double length = norm(std::span(before).first(width));
  EXPECT_NEAR(norm(std::span(rows).first(width)), length, tolerance * length);
  rotation.apply_transposed(rows, pool);
  EXPECT_LT(largest_difference(rows, before), tolerance);
  rotation.apply_transposed(rows, pool);
  rotation.apply(rows, pool);
  EXPECT_LT(largest_difference(rows, before), 2 * tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Widths, RotationOfWidth,
    ::testing::Values(WidthCase{1, 1, 1}, WidthCase{2, 2, 1}, WidthCase{3, 1, 1},
                      WidthCase{4, 4, 1}, WidthCase{6, 2, 1}, WidthCase{12, 12, 12},
                      WidthCase{20, 20, 20}, WidthCase{40, 40, 20}, WidthCase{64, 64, 1},
                      WidthCase{92, 4, 1}, WidthCase{172, 4, 1}, WidthCase{288, 288, 36},
                      WidthCase{576, 576, 36}, WidthCase{768, 768, 12}, WidthCase{1536, 1536, 12},
                      WidthCase{2048, 2048, 1}, WidthCase{5632, 5632, 44}, WidthCase{8192, 8192, 1},
                      WidthCase{8960, 8960, 140}, WidthCase{11008, 11008, 344},
                      WidthCase{14336, 14336, 28}),
    [](const auto& parameter) { return std::to_string(parameter.param.width); });

// Row i of Q: the identity, rotated.
Floats dense(const Rotation& rotation) {
  ThreadPool pool(1);
  const std::size_t width = rotation.width();
  Floats matrix(width * width);
  for (std::size_t i = 0; i < width; ++i) matrix[i * width + i] = 1.0f;
  rotation.apply(matrix, pool);
  return matrix;
}

TEST(Rotation, IsSylvestersMatrixForAPowerOfTwo) {
  EXPECT_EQ(dense(Rotation(4)), (Floats{0.5f, 0.5f, 0.5f, 0.5f,    //
                                        0.5f, -0.5f, 0.5f, -0.5f,  //
                                        0.5f, 0.5f, -0.5f, -0.5f,  //
                                        0.5f, -0.5f, -0.5f, 0.5f}));
}

TEST(Rotation, IsItsOwnInverseForAPowerOfTwoWithoutSigns) {
  ThreadPool pool(1);
  const Rotation rotation(16);  // 1 / sqrt(16) is exact
  Floats rows(16);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i * i);
  const Floats before = rows;
  rotation.apply(rows, pool);
  rotation.apply(rows, pool);
  EXPECT_EQ(rows, before);
}

TEST(Rotation, IsOrthogonalAndEvenWithinItsBlocks) {
  for (const std::size_t width : {12u, 24u, 40u, 72u}) {
    const Rotation rotation(width, 9);
    const Floats q = dense(rotation);
    const double entry = 1.0 / std::sqrt(static_cast<double>(rotation.block()));
    for (std::size_t i = 0; i < width; ++i) {
      for (std::size_t j = 0; j < width; ++j) {
        ASSERT_NEAR(static_cast<double>(std::abs(q[i * width + j])), entry, 1e-7);
        double dot = 0.0;
        for (std::size_t k = 0; k < width; ++k) {
          dot += static_cast<double>(q[i * width + k]) * static_cast<double>(q[j * width + k]);
        }
        ASSERT_NEAR(dot, i == j ? 1.0 : 0.0, 1e-6) << width << ": rows " << i << " and " << j;
      }
    }
  }
}

TEST(Rotation, TransposedIsTheTranspose) {
  ThreadPool pool(1);
  const std::size_t width = 24;
  const Rotation rotation(width, 2);
  const Floats q = dense(rotation);
  Floats transposed(width * width);
  for (std::size_t i = 0; i < width; ++i) transposed[i * width + i] = 1.0f;
  rotation.apply_transposed(transposed, pool);
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      ASSERT_EQ(transposed[i * width + j], q[j * width + i]);
    }
  }
}

TEST(Rotation, GivesTheSameBitsForAnyNumberOfThreads) {
  const std::size_t width = 288;
  const Rotation rotation(width, 5);
  ThreadPool one(1);
  ThreadPool three(3);
  Floats alone = random_values(37 * width, 1);
  Floats together = alone;
  rotation.apply(alone, one);
  rotation.apply(together, three);
  EXPECT_EQ(together, alone);
}

TEST(Rotation, DrawsItsSignsFromTheSeed) {
  const auto signs = [](std::uint64_t seed) {
    const Rotation rotation(64, seed);
    return Floats(rotation.signs().begin(), rotation.signs().end());
  };
  EXPECT_EQ(signs(1), signs(1));
  EXPECT_NE(signs(1), signs(2));
  const Floats drawn = signs(1);
  const auto minus = std::count(drawn.begin(), drawn.end(), -1.0f);
  EXPECT_EQ(minus + std::count(drawn.begin(), drawn.end(), 1.0f), 64);
  EXPECT_GT(minus, 16);
  EXPECT_LT(minus, 48);
}

TEST(Rotation, SpreadsAnOutlierOverItsBlock) {
  ThreadPool pool(1);
  const Rotation rotation(768, 4);
  Floats row(768, 0.0f);
  row[100] = 1000.0f;
  rotation.apply(row, pool);
  for (const float value : row) EXPECT_NEAR(std::abs(value), 1000.0 / std::sqrt(768.0), 1e-2);
}

}  // namespace
}  // namespace fptq::algo
