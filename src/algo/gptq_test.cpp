#include "algo/gptq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <tuple>

#include "algo/output_loss.h"
#include "algo/scale_refit.h"
#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::correlated_inputs;
using testing::example_moments;
using testing::example_weights;
using testing::loss_by_definition;
using testing::moments_of;
using testing::random_values;

const GptqOptions kPlain{.grids = GridChoice::kRange, .alternations = 0, .refit = false};

InputMoments damped(InputMoments moments, const InputFactor& factor) {
  damp(factor.damping().lambda, moments);
  return moments;
}

QuantArgs scheme(std::string_view name) {
  return *parse_scheme(name)->weights;
}

// L of rounding to nearest on the grids that cover each group.
double nearest_loss(const std::vector<float>& weights, const InputMoments& moments,
                    const QuantizedMatrix& like) {
  return loss_by_definition(
      weights, moments,
      round_to_nearest(weights, like.rows, like.cols, like.args, like.scale_dtype));
}

double squared_error(const std::vector<float>& weights, const QuantizedMatrix& matrix) {
  const std::vector<float> restored = dequantize(matrix);
  double total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double left = static_cast<double>(restored[i]) - static_cast<double>(weights[i]);
    total += left * left;
  }
  return total;
}

TEST(Gptq, EqualsObsWithExplicitInversesOnTheExample) {
  ThreadPool pool(1);
  const InputMoments moments = example_moments();
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  QuantizedMatrix matrix =
      make_quantized_matrix(2, 4, int_weights(4, Strategy::kGroup, 2, true), DType::kF32);
  const InputMoments measure = damped(moments, *factor);
  const auto outcome = round_gptq(example_weights(), measure, *factor, kPlain, pool, matrix);
  ASSERT_TRUE(outcome);
  // Optimal brain surgeon: H^-1 updated by elimination after each of the columns 1, 0, 2, 3.
  EXPECT_EQ(matrix.codes, (std::vector<std::int8_t>{7, -4, 7, 6, -8, 3, 3, -8}));
  const double damping = factor->damping().lambda * squared_error(example_weights(), matrix);
  EXPECT_NEAR(outcome->loss, 0.10405244 + 0.02034178 + damping, 2e-6);
  EXPECT_EQ(outcome->first_loss, outcome->loss);
}

TEST(Gptq, RefitReachesTheLeastSquaresOfTheExample) {
  ThreadPool pool(1);
  const InputMoments moments = example_moments();
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  QuantizedMatrix matrix =
      make_quantized_matrix(2, 4, int_weights(4, Strategy::kGroup, 2, true), DType::kF32);
  const auto outcome = round_gptq(example_weights(), moments, *factor,
                                  {.grids = GridChoice::kRange, .alternations = 0}, pool, matrix);
  ASSERT_TRUE(outcome);
  const std::vector<float> expected = {0.12414192f, 0.08360805f, 0.08071783f, 0.09107087f};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(matrix.scales[i], expected[i], 1e-5);
  EXPECT_NEAR(outcome->loss, 0.01566396 + 0.0006667, 2e-6);
}

TEST(Gptq, IsNoBetterThanTheBestOfAllCodesAndNotMuchWorse) {
  ThreadPool pool(1);
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    constexpr std::size_t kCols = 3;
    const InputMoments moments = moments_of(correlated_inputs(12, kCols, seed), kCols, pool);
    const auto factor = InputFactor::make(moments, {.damping = 1e-4}, pool);
    ASSERT_TRUE(factor);
    const std::vector<float> weights = random_values(2 * kCols, seed + 50, 1.0);
    QuantizedMatrix matrix =
        make_quantized_matrix(2, kCols, int_weights(4, Strategy::kGroup, 2, true), DType::kF32);
    const auto outcome =
        round_gptq(weights, damped(moments, *factor), *factor, kPlain, pool, matrix);
    ASSERT_TRUE(outcome);
    // All 16^3 rows of codes on the same grids.
    double best = 0;
    for (std::size_t row = 0; row < 2; ++row) {
      QuantizedMatrix candidate = make_quantized_matrix(1, kCols, matrix.args, matrix.scale_dtype);
      candidate.scales = {matrix.scales[2 * row], matrix.scales[2 * row + 1]};
      const std::span<const float> of_row = std::span(weights).subspan(row * kCols, kCols);
      double least = std::numeric_limits<double>::infinity();
      for (int index = 0; index < 4096; ++index) {
        candidate.codes = {static_cast<std::int8_t>(index % 16 - 8),
                           static_cast<std::int8_t>(index / 16 % 16 - 8),
                           static_cast<std::int8_t>(index / 256 - 8)};
        least = std::min(least, loss_by_definition(of_row, moments, candidate));
      }
      best += least;
    }
    const double loss = loss_by_definition(weights, moments, matrix);
    EXPECT_GE(loss, best * (1 - 1e-4)) << seed;
    EXPECT_LE(loss, 2 * best + 1e-3) << seed;
    // Coordinate descent lies between.
    const LossChange change = descend_codes(weights, moments, 3, best_isa(), pool, matrix);
    EXPECT_LE(change.after, change.before);
    EXPECT_NEAR(change.after, loss_by_definition(weights, moments, matrix), 1e-4 * loss);
    EXPECT_GE(change.after, best * (1 - 1e-4)) << seed;
  }
}

// Scheme, type of the scales, rows and columns.
using Case = std::tuple<std::string_view, std::string_view, std::size_t, std::size_t>;
class GptqProperty : public ::testing::TestWithParam<Case> {};

TEST_P(GptqProperty, LosesLessThanRoundingToNearest) {
  const auto& [name, scale_type, rows, cols] = GetParam();
  ThreadPool one(1);
  ThreadPool three(3);
  InputMoments moments = moments_of(correlated_inputs(3 * cols, cols, cols), cols, one);
  const auto factor = InputFactor::make(moments, {}, one);
  ASSERT_TRUE(factor);
  damp(factor->damping().lambda, moments);
  const std::vector<float> weights = random_values(rows * cols, 9, 0.1);
  QuantizedMatrix matrix =
      make_quantized_matrix(rows, cols, scheme(name), *parse_dtype(scale_type));
  QuantizedMatrix other = matrix;
  QuantizedMatrix plain = matrix;
  const auto outcome = round_gptq(weights, moments, *factor, {}, one, matrix);
  ASSERT_TRUE(outcome);
  EXPECT_LT(outcome->first_loss, nearest_loss(weights, moments, matrix));
  EXPECT_LE(outcome->loss, outcome->first_loss);
  EXPECT_NEAR(outcome->loss, loss_by_definition(weights, moments, matrix), 1e-3 * outcome->loss);
  for (const float scale : matrix.scales) EXPECT_EQ(scale, stored_scale(scale, matrix.scale_dtype));

  // The same bytes with other threads and kernels.
  const auto again = round_gptq(weights, moments, *factor, {.isa = Isa::kScalar}, three, other);
  ASSERT_TRUE(again);
  EXPECT_EQ(matrix.codes, other.codes);
  EXPECT_EQ(matrix.scales, other.scales);
  EXPECT_EQ(matrix.zero_points, other.zero_points);
  EXPECT_EQ(outcome->loss, again->loss);

  // The published grids lose less than nearest, too, and the loss that GPTQ counts is the real one.
  const auto published = round_gptq(weights, moments, *factor, kPlain, one, plain);
  ASSERT_TRUE(published);
  EXPECT_LT(published->loss, nearest_loss(weights, moments, plain));
  EXPECT_NEAR(published->loss, loss_by_definition(weights, moments, plain), 1e-3 * published->loss);
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, GptqProperty,
    ::testing::Values(Case{"w4g32-sym", "F16", 5, 160}, Case{"w4g32", "BF16", 33, 150},
                      Case{"w4g128", "F32", 3, 300}, Case{"w4c", "F16", 17, 129},
                      Case{"w4c-asym", "F16", 4, 64}, Case{"w8c", "BF16", 4, 130},
                      Case{"w8g64", "F16", 2, 96}, Case{"w4g32-sym", "F32", 1, 31}));

TEST(Gptq, CountsItsLossWithDeadColumnsAndRoundsThemToNearest) {
  constexpr std::size_t kCols = 40;
  ThreadPool pool(1);
  std::vector<float> inputs = correlated_inputs(200, kCols, 11);
  for (std::size_t t = 0; t < 200; ++t) inputs[t * kCols + 3] = inputs[t * kCols + 20] = 0;
  InputMoments moments = moments_of(inputs, kCols, pool);
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  damp(factor->damping().lambda, moments);
  const std::vector<float> weights = random_values(3 * kCols, 12, 0.1);
  QuantizedMatrix matrix = make_quantized_matrix(3, kCols, scheme("w4g32-sym"), DType::kF16);
  const auto outcome = round_gptq(weights, moments, *factor, {.refit = false}, pool, matrix);
  ASSERT_TRUE(outcome);
  EXPECT_NEAR(outcome->loss, loss_by_definition(weights, moments, matrix), 1e-3 * outcome->loss);
  for (std::size_t row = 0; row < 3; ++row) {
    for (const std::size_t col : {std::size_t{3}, std::size_t{20}}) {
      EXPECT_EQ(matrix.codes[row * kCols + col],
                quantize_value(weights[row * kCols + col], matrix.grid(row, col / 32), 4));
    }
  }
}

TEST(Gptq, WorksWithFewerTokensThanInputs) {
  constexpr std::size_t kCols = 200;
  ThreadPool pool(1);
  const InputMoments moments = moments_of(correlated_inputs(30, kCols, 13), kCols, pool);
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  const std::vector<float> weights = random_values(4 * kCols, 14, 0.1);
  QuantizedMatrix matrix = make_quantized_matrix(4, kCols, scheme("w4g32-sym"), DType::kF16);
  const auto outcome = round_gptq(weights, moments, *factor, {.descent_passes = 2}, pool, matrix);
  ASSERT_TRUE(outcome);
  EXPECT_LT(outcome->loss, 0.2 * nearest_loss(weights, moments, matrix));
  EXPECT_NEAR(outcome->loss, loss_by_definition(weights, moments, matrix), 1e-2 * outcome->loss);
  EXPECT_LT(squared_error(weights, matrix), 0.1 * 0.01 * static_cast<double>(weights.size()));
}

TEST(Gptq, SaysWhichWeightIsNotFiniteAndWhichSizesDiffer) {
  ThreadPool pool(1);
  const InputMoments moments = example_moments();
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  QuantizedMatrix matrix = make_quantized_matrix(2, 4, scheme("w4c"), DType::kF32);
  std::vector<float> weights = example_weights();
  weights[6] = std::numeric_limits<float>::infinity();
  const auto infinite = round_gptq(weights, moments, *factor, {}, pool, matrix);
  ASSERT_FALSE(infinite);
  EXPECT_EQ(infinite.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(infinite.error().message, "gptq: weight [1, 2]: expected a finite number, got inf");
  QuantizedMatrix narrow = make_quantized_matrix(2, 3, scheme("w4c"), DType::kF32);
  const auto sizes = round_gptq(example_weights(), moments, *factor, {}, pool, narrow);
  ASSERT_FALSE(sizes);
  EXPECT_EQ(
      sizes.error().message,
      "gptq: expected weights, moments and factor of 2 x 3, got 8 weights, moments of 4 and a "
      "factor of 4 inputs");
}

}  // namespace
}  // namespace fptq::algo
