#include "algo/input_factor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "algo/test_inputs.h"
#include "algo/triangular.h"

namespace fptq::algo {
namespace {

using testing::correlated_inputs;
using testing::moments_from;
using testing::moments_of;

// The largest element of |U^T U (H + lambda I) - I| in the factor's order.
double inverse_error(const InputMoments& moments, const InputFactor& factor) {
  const std::size_t width = factor.width();
  std::vector<double> damped(width * width);
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      damped[i * width + j] =
          static_cast<double>(moments.gram[factor.order()[i] * width + factor.order()[j]]);
    }
    double& diagonal = damped[i * width + i];
    diagonal = (diagonal == 0 ? 1 : diagonal) + factor.damping().lambda;
  }
  const auto u = [&](std::size_t i, std::size_t j) {
    return j < i ? 0.0 : static_cast<double>(factor.inverse_factor()[i * width + j]);
  };
  std::vector<double> product(width * width);  // U (H + lambda I)
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t k = i; k < width; ++k) {
      for (std::size_t j = 0; j < width; ++j) {
        product[i * width + j] += u(i, k) * damped[k * width + j];
      }
    }
  }
  double largest = 0;
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      double total = i == j ? -1.0 : 0.0;
      for (std::size_t k = 0; k <= i; ++k) total += u(k, i) * product[k * width + j];
      largest = std::max(largest, std::abs(total));
    }
  }
  return largest;
}

TEST(InputFactor, IsTheInverseOfTwoByTwo) {
  ThreadPool pool(1);
  // [4 2; 2 5]^-1 = [5 -2; -2 4] / 16 = U^T U with U = [sqrt(5) -2/sqrt(5); 0 4/sqrt(5)] / 4.
  const auto factor =
      InputFactor::make(moments_from({4, 2, 2, 5}, 2), {.damping = 0, .act_order = false}, pool);
  ASSERT_TRUE(factor);
  const double root = std::sqrt(5.0);
  const std::span<const float> u = factor->inverse_factor();
  EXPECT_FLOAT_EQ(u[0], static_cast<float>(root / 4));
  EXPECT_FLOAT_EQ(u[1], static_cast<float>(-0.5 / root));
  EXPECT_EQ(u[1], u[2]);
  EXPECT_FLOAT_EQ(u[3], static_cast<float>(1 / root));
  EXPECT_EQ(factor->order()[0], 0u);
  EXPECT_EQ(factor->damping().lambda, 0.0);
}

TEST(InputFactor, OrdersColumnsByDescendingDiagonalEqualOnesByIndex) {
  ThreadPool pool(1);
  const auto factor = InputFactor::make(
      moments_from({1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 7}, 4), {}, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(std::vector<std::uint32_t>(factor->order().begin(), factor->order().end()),
            (std::vector<std::uint32_t>{3, 1, 0, 2}));
  EXPECT_DOUBLE_EQ(factor->damping().lambda, 0.01 * 3);
}

TEST(InputFactor, InvertsTheDampedGramMatrix) {
  ThreadPool pool(2);
  for (const std::size_t width : {1u, 15u, 16u, 17u, 127u, 128u, 129u, 275u}) {
    const InputMoments moments = moments_of(correlated_inputs(2 * width, width, 4), width, pool);
    for (const bool act_order : {false, true}) {
      const auto factor = InputFactor::make(moments, {.act_order = act_order}, pool);
      ASSERT_TRUE(factor);
      EXPECT_EQ(factor->raised(), 0);
      // U is rounded to float32: relative errors of 2^-24 times a condition of some hundreds.
      EXPECT_LT(inverse_error(moments, *factor), 2e-4) << width;
    }
  }
}

TEST(InputFactor, GivesTheSameBytesForAnyThreadsAndInstructionSet) {
  constexpr std::size_t kWidth = 333;
  ThreadPool one(1);
  ThreadPool three(3);
  const InputMoments moments = moments_of(correlated_inputs(400, kWidth, 5), kWidth, one);
  const auto expected = InputFactor::make(moments, {.isa = Isa::kScalar}, one);
  ASSERT_TRUE(expected);
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni, Isa::kNeon}) {
    if (!cpu_supports(isa)) continue;
    const auto actual = InputFactor::make(moments, {.isa = isa}, three);
    ASSERT_TRUE(actual);
    EXPECT_TRUE(std::equal(actual->inverse_factor().begin(), actual->inverse_factor().end(),
                           expected->inverse_factor().begin()))
        << isa_name(isa);
  }
}

TEST(InputFactor, TreatsDeadColumnsAsIndependent) {
  ThreadPool pool(1);
  std::vector<float> inputs = correlated_inputs(50, 6, 6);
  for (std::size_t t = 0; t < 50; ++t) inputs[t * 6 + 2] = inputs[t * 6 + 4] = 0;
  const InputMoments moments = moments_of(inputs, 6, pool);
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(
      std::vector<std::uint32_t>(factor->dead_columns().begin(), factor->dead_columns().end()),
      (std::vector<std::uint32_t>{2, 4}));
  EXPECT_EQ(factor->order()[4], 2u);
  EXPECT_EQ(factor->order()[5], 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(factor->inverse_factor()[i * 6 + 4], 0.0f);
  EXPECT_LT(inverse_error(moments, *factor), 1e-4);
}

TEST(InputFactor, WorksWhereEveryColumnIsDead) {
  ThreadPool pool(1);
  const auto factor = InputFactor::make(moments_from(std::vector<float>(9), 3), {}, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(factor->dead_columns().size(), 3u);
  EXPECT_FLOAT_EQ(factor->inverse_factor()[0], static_cast<float>(1 / std::sqrt(1.01)));
}

TEST(InputFactor, DampsFewerTokensThanInputs) {
  ThreadPool pool(1);
  const InputMoments moments = moments_of(correlated_inputs(20, 64, 7), 64, pool);
  const auto factor = InputFactor::make(moments, {}, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(factor->raised(), 0);
  EXPECT_LT(inverse_error(moments, *factor), 1e-2);
}

TEST(InputFactor, RaisesTheDampingUntilThereIsAFactor) {
  ThreadPool pool(1);
  // Eigenvalues 3 and -1: no float32 rounding makes this, but damping by 1.1 times the mean does.
  const InputMoments moments = moments_from({1, 2, 2, 1}, 2);
  const auto factor = InputFactor::make(moments, {.damping = 0.011}, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(factor->raised(), 2);
  EXPECT_DOUBLE_EQ(factor->damping().relative, 1.1);
  const auto undamped = InputFactor::make(moments, {.damping = 0}, pool);
  ASSERT_TRUE(undamped);
  EXPECT_EQ(undamped->raised(), 8);
  EXPECT_DOUBLE_EQ(undamped->damping().relative, 10);
}

TEST(InputFactor, NamesTheFirstMomentThatIsNotFinite) {
  ThreadPool pool(2);
  InputMoments moments = moments_from(std::vector<float>(9, 1.0f), 3);
  moments.gram[5] = std::numeric_limits<float>::quiet_NaN();
  moments.gram[7] = std::numeric_limits<float>::infinity();
  const auto nan = InputFactor::make(moments, {}, pool);
  ASSERT_FALSE(nan);
  EXPECT_EQ(nan.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(nan.error().message,
            "second moment of the inputs: element [1, 2]: expected a finite number, got nan. Does "
            "the model overflow on the calibration text?");
  moments.gram = std::vector<float>(9, 1.0f);
  moments.shift = std::vector<float>(9, std::numeric_limits<float>::infinity());
  const auto infinite = InputFactor::make(moments, {}, pool);
  ASSERT_FALSE(infinite);
  EXPECT_EQ(
      infinite.error().message,
      "moment of the shift of the inputs: element [0, 0]: expected a finite number, got inf. Does "
      "the model overflow on the calibration text?");
}

TEST(Triangular, FactorAndInverseAreThoseOfTheMatrix) {
  constexpr std::size_t kSize = 150;
  ThreadPool pool(1);
  const MatrixProducts products(best_isa());
  const std::vector<float> gram = moments_of(correlated_inputs(300, kSize, 8), kSize, pool).gram;
  std::vector<double> a(kSize * kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    for (std::size_t j = i; j < kSize; ++j) a[i * kSize + j] = gram[i * kSize + j];
  }
  ASSERT_TRUE(factor_upper({a.data(), kSize}, kSize, products, pool));
  std::vector<double> inverse = a;
  invert_upper({inverse.data(), kSize}, kSize, products, pool);
  for (std::size_t i = 0; i < kSize; ++i) {
    for (std::size_t j = 0; j < kSize; ++j) {
      double of_factor = 0;
      double of_inverse = 0;
      for (std::size_t k = 0; k < kSize; ++k) {
        of_factor += a[k * kSize + i] * a[k * kSize + j];
        of_inverse += a[i * kSize + k] * inverse[k * kSize + j];
      }
      EXPECT_NEAR(of_factor, gram[i * kSize + j], 1e-9 * gram[0]);
      EXPECT_NEAR(of_inverse, i == j ? 1.0 : 0.0, 1e-9);
    }
  }
}

}  // namespace
}  // namespace fptq::algo
