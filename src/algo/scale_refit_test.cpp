#include "algo/scale_refit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "algo/output_loss.h"
#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::correlated_inputs;
using testing::loss_by_definition;
using testing::moments_from;
using testing::moments_of;
using testing::random_values;

QuantizedMatrix nearest(const std::vector<float>& weights, std::size_t cols, const QuantArgs& args,
                        DType dtype) {
  return round_to_nearest(weights, weights.size() / cols, cols, args, dtype);
}

TEST(ScaleRefit, SolvesTheNormalEquations) {
  ThreadPool pool(1);
  // With H = I each group is its own least-squares problem: (3 * 6.6 + 4 * 8.8) / 25 = 2.2 and
  // (2 * 1 - 1 * 0.5) / 5 = 0.3.
  std::vector<float> identity(16);
  for (std::size_t i = 0; i < 4; ++i) identity[5 * i] = 1;
  const std::vector<float> weights = {6.6f, 8.8f, 1.0f, 0.5f};
  QuantizedMatrix matrix =
      make_quantized_matrix(1, 4, int_weights(4, Strategy::kGroup, 2, true), DType::kF32);
  matrix.codes = {3, 4, 2, -1};
  matrix.scales = {2.0f, 0.5f};
  const LossChange change =
      refit_scales(weights, moments_from(identity, 4), best_isa(), pool, matrix);
  EXPECT_NEAR(matrix.scales[0], 2.2f, 1e-5);
  EXPECT_NEAR(matrix.scales[1], 0.3f, 1e-5);
  EXPECT_NEAR(change.before, 0.6 * 0.6 + 0.8 * 0.8 + 1.0, 1e-5);
  EXPECT_NEAR(change.after, 0.4 * 0.4 + 0.8 * 0.8, 1e-5);
}

TEST(ScaleRefit, NeverRaisesTheLoss) {
  ThreadPool one(1);
  ThreadPool three(3);
  for (const bool symmetric : {true, false}) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const std::size_t cols : {96u, 100u}) {
        for (const std::size_t tokens : {20u, 400u}) {
          const InputMoments moments = moments_of(correlated_inputs(tokens, cols, 3), cols, one);
          const std::vector<float> weights = random_values(5 * cols, 4, 0.1);
          QuantizedMatrix matrix =
              nearest(weights, cols, int_weights(4, Strategy::kGroup, 32, symmetric), dtype);
          QuantizedMatrix other = matrix;
          const double before = loss_by_definition(weights, moments, matrix);
          const LossChange change = refit_scales(weights, moments, best_isa(), one, matrix);
          const double after = loss_by_definition(weights, moments, matrix);
          EXPECT_NEAR(change.before, before, 1e-3 * before);
          EXPECT_NEAR(change.after, after, 1e-3 * before);
          EXPECT_LT(after, before);
          for (const float scale : matrix.scales) EXPECT_EQ(scale, stored_scale(scale, dtype));
          refit_scales(weights, moments, Isa::kScalar, three, other);
          EXPECT_EQ(matrix.scales, other.scales);
        }
      }
    }
  }
}

TEST(ScaleRefit, LeavesWhatIsExactAndWhatHasNoCodes) {
  ThreadPool pool(1);
  const InputMoments moments = moments_of(correlated_inputs(100, 64, 5), 64, pool);
  std::vector<float> weights(2 * 64);
  for (std::size_t i = 0; i < 32; ++i)
    weights[i] = static_cast<float>(static_cast<int>(i) % 15 - 7);
  QuantizedMatrix matrix =
      nearest(weights, 64, int_weights(4, Strategy::kGroup, 32, true), DType::kF16);
  for (std::size_t i = 0; i < 32; ++i) matrix.codes[i] = static_cast<std::int8_t>(weights[i]);
  matrix.scales[0] = 1.0f;
  const std::vector<float> scales = matrix.scales;
  const LossChange change = refit_scales(weights, moments, best_isa(), pool, matrix);
  EXPECT_EQ(matrix.scales, scales);
  EXPECT_EQ(change.before, 0.0);
  EXPECT_EQ(change.after, 0.0);
}

TEST(ScaleRefit, WorksPerChannelWithOneUnknown) {
  constexpr std::size_t kCols = 600;  // more than a block of columns
  ThreadPool pool(1);
  const InputMoments moments = moments_of(correlated_inputs(700, kCols, 6), kCols, pool);
  const std::vector<float> weights = random_values(2 * kCols, 7, 0.1);
  QuantizedMatrix matrix =
      nearest(weights, kCols, int_weights(4, Strategy::kChannel, 0, true), DType::kF32);
  const LossChange change = refit_scales(weights, moments, best_isa(), pool, matrix);
  const double least = loss_by_definition(weights, moments, matrix);
  EXPECT_NEAR(change.after, least, 1e-3 * least);
  for (const float factor : {0.999f, 1.001f}) {
    QuantizedMatrix moved = matrix;
    for (float& scale : moved.scales) scale *= factor;
    EXPECT_LT(least, loss_by_definition(weights, moments, moved));
  }
}

TEST(DescendCodes, NeverRaisesTheLossAndGivesTheSameBytesForAnyThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  for (const bool symmetric : {true, false}) {
    constexpr std::size_t kCols = 100;
    const InputMoments moments = moments_of(correlated_inputs(300, kCols, 8), kCols, one);
    const std::vector<float> weights = random_values(20 * kCols, 9, 0.1);
    QuantizedMatrix matrix =
        nearest(weights, kCols, int_weights(4, Strategy::kGroup, 32, symmetric), DType::kF16);
    QuantizedMatrix other = matrix;
    const double before = loss_by_definition(weights, moments, matrix);
    const LossChange change = descend_codes(weights, moments, 2, best_isa(), one, matrix);
    const double after = loss_by_definition(weights, moments, matrix);
    EXPECT_NEAR(change.before, before, 1e-3 * before);
    EXPECT_NEAR(change.after, after, 1e-3 * before);
    EXPECT_LT(after, 0.8 * before);
    descend_codes(weights, moments, 2, Isa::kScalar, three, other);
    EXPECT_EQ(matrix.codes, other.codes);
  }
}

TEST(OutputLoss, IsTheQuadraticForm) {
  ThreadPool pool(2);
  constexpr std::size_t kCols = 300;
  const InputMoments moments = moments_of(correlated_inputs(400, kCols, 10), kCols, pool);
  const std::vector<float> weights = random_values(20 * kCols, 11, 0.1);
  const QuantizedMatrix matrix =
      nearest(weights, kCols, int_weights(4, Strategy::kGroup, 32, true), DType::kF16);
  const double expected = loss_by_definition(weights, moments, matrix);
  EXPECT_NEAR(output_loss(weights, moments, matrix, best_isa(), pool), expected, 1e-5 * expected);
}

}  // namespace
}  // namespace fptq::algo
