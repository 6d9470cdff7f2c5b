#include "algo/input_correction.h"

#include <gtest/gtest.h>

#include <limits>

#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::correlated_inputs;
using testing::example_moments;
using testing::example_weights;
using testing::random_values;

// D of the example with x + [.1 0 -.2 0; 0 .3 0 .1; -.1 0 .1 0; .2 -.1 0 0; 0 0 .1 -.3] as the
// original inputs.
InputMoments example_with_shift() {
  InputMoments moments = example_moments();
  moments.shift = {0.3f, 0.5f, 0.1f, -0.7f, 0.1f,  0.2f, 0.1f, -0.5f,
                   0.3f, 0.1f, 0.0f, 0.4f,  -0.3f, 0.1f, 0.1f, -0.3f};
  return moments;
}

TEST(InputCorrection, EqualsTheFormulaComputedWithAnExplicitInverse) {
  ThreadPool pool(1);
  const InputMoments moments = example_with_shift();
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  const auto corrected = corrected_weights(example_weights(), moments, *factor, {}, {}, pool);
  ASSERT_TRUE(corrected);
  const std::vector<float> expected = {0.77393242f,  -0.29855269f, 0.52140681f, 0.20013816f,
                                       -0.58344784f, 0.15966094f,  0.27582617f, -0.58272173f};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR((*corrected)[i], expected[i], 3e-6);
}

TEST(InputCorrection, AddsTheOutputMomentAndAppliesAShare) {
  ThreadPool pool(1);
  const InputMoments moments = example_with_shift();
  const auto factor = InputFactor::make(moments, {.act_order = false}, pool);
  ASSERT_TRUE(factor);
  const std::vector<float> output_moment = {1, -.5f, 2, 0, 0, 1.5f, -1, .5f};
  const auto corrected =
      corrected_weights(example_weights(), moments, *factor, output_moment, {.alpha = 0.5}, pool);
  ASSERT_TRUE(corrected);
  const std::vector<float> expected = {1.33951232f,  -1.49450033f, 1.42947873f,  1.62539954f,
                                       -0.97017708f, 0.98563781f,  -0.30713153f, -1.5427023f};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR((*corrected)[i], expected[i], 1e-5);
}

// sum_t |W' xq_t - W xf_t|^2
double output_error(const std::vector<float>& corrected, const std::vector<float>& weights,
                    const std::vector<float>& xq, const std::vector<float>& xf, std::size_t width) {
  double total = 0;
  for (std::size_t row = 0; row < weights.size() / width; ++row) {
    for (std::size_t t = 0; t < xq.size() / width; ++t) {
      double left = 0;
      for (std::size_t k = 0; k < width; ++k) {
        left += static_cast<double>(corrected[row * width + k]) * xq[t * width + k] -
                static_cast<double>(weights[row * width + k]) * xf[t * width + k];
      }
      total += left * left;
    }
  }
  return total;
}

TEST(InputCorrection, BringsOutputsCloserToTheOriginalOnes) {
  constexpr std::size_t kWidth = 300;  // more than a block
  constexpr std::size_t kTokens = 600;
  ThreadPool pool(2);
  const std::vector<float> xf = correlated_inputs(kTokens, kWidth, 1);
  std::vector<float> xq = xf;
  for (std::size_t i = 0; i < xq.size(); ++i) xq[i] *= i % 3 == 0 ? 1.1f : 0.95f;
  MomentAccumulator accumulator(kWidth, true, best_isa());
  std::vector<float> shift = xf;
  for (std::size_t i = 0; i < shift.size(); ++i) shift[i] -= xq[i];
  accumulator.add(xq.data(), shift.data(), kTokens, pool);
  const InputMoments moments = accumulator.finish(pool);
  const auto factor = InputFactor::make(moments, {.damping = 1e-4}, pool);
  ASSERT_TRUE(factor);
  const std::vector<float> weights = random_values(5 * kWidth, 2, 0.1);
  const auto corrected = corrected_weights(weights, moments, *factor, {}, {}, pool);
  ASSERT_TRUE(corrected);
  EXPECT_LT(output_error(*corrected, weights, xq, xf, kWidth),
            0.01 * output_error(weights, weights, xq, xf, kWidth));
  ThreadPool one(1);
  const auto alone = corrected_weights(weights, moments, *factor, {}, {.isa = Isa::kScalar}, one);
  ASSERT_TRUE(alone);
  EXPECT_EQ(*alone, *corrected);
}

TEST(InputCorrection, LeavesWeightsAloneWithoutAShiftAndInDeadColumns) {
  ThreadPool pool(1);
  InputMoments moments = example_moments();
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(*corrected_weights(example_weights(), moments, *factor, {}, {}, pool),
            example_weights());

  moments = example_with_shift();
  for (std::size_t i = 0; i < 4; ++i) moments.gram[4 + i] = moments.gram[4 * i + 1] = 0;
  const auto without = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(without);
  const auto corrected = corrected_weights(example_weights(), moments, *without, {}, {}, pool);
  ASSERT_TRUE(corrected);
  EXPECT_EQ((*corrected)[1], example_weights()[1]);
  EXPECT_EQ((*corrected)[5], example_weights()[5]);
  EXPECT_NE((*corrected)[0], example_weights()[0]);
}

TEST(InputCorrection, NamesTheChannelThatIsNotFinite) {
  ThreadPool pool(1);
  const InputMoments moments = example_moments();
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  std::vector<float> output_moment(8);
  output_moment[6] = std::numeric_limits<float>::quiet_NaN();
  const auto corrected =
      corrected_weights(example_weights(), moments, *factor, output_moment, {}, pool);
  ASSERT_FALSE(corrected);
  EXPECT_EQ(corrected.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(corrected.error().message,
            "input correction: output channel 1: expected finite weights, got nan");
}

}  // namespace
}  // namespace fptq::algo
