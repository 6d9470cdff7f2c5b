#include "ops/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace fptq::ops {
namespace {

std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

TEST(RmsNorm, GivesTheSameBitsOnEveryNumberOfThreads) {
  constexpr std::size_t kRows = 70;
  constexpr std::size_t kWidth = 600;
  const Tensor weight = *Tensor::from_f32({kWidth}, random_floats(kWidth, 1));
  const std::vector<float> x = random_floats(kRows * kWidth, 2);
  const RmsNorm norm = *RmsNorm::create(weight, 1e-5f, best_isa());
  std::vector<float> expected(x.size());
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    ThreadPool pool(threads);
    std::vector<float> y(x.size());
    norm.forward(x.data(), kRows, y.data(), pool);
    if (threads == 1) expected = y;
    EXPECT_EQ(expected, y);
  }
  EXPECT_NE(x, expected);
}

TEST(RmsNorm, RejectsAWeightThatIsNotAVector) {
  const Tensor weight = *Tensor::from_f32({2, 3}, std::vector<float>(6));
  const auto norm = RmsNorm::create(weight, 1e-5f, Isa::kScalar);
  ASSERT_FALSE(norm);
  EXPECT_EQ(Error::Kind::kFormat, norm.error().kind);
  EXPECT_EQ("norm weight: expected one axis, got shape [2, 3]", norm.error().message);
}

TEST(RmsNorm, RejectsAWeightOfIntegers) {
  const auto weight = Tensor::create(DType::kI8, {4});
  const auto norm = RmsNorm::create(weight->tensor, 1e-5f, Isa::kScalar);
  ASSERT_FALSE(norm);
  EXPECT_EQ(Error::Kind::kUnsupported, norm.error().kind);
  EXPECT_EQ("norm weight: expected F32, F16 or BF16, got I8", norm.error().message);
}

TEST(RmsNorm, RejectsAnEpsilonThatIsNotPositive) {
  const Tensor weight = *Tensor::from_f32({1}, std::vector<float>(1));
  for (const float eps : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const auto norm = RmsNorm::create(weight, eps, Isa::kScalar);
    ASSERT_FALSE(norm);
    EXPECT_EQ("norm epsilon: expected a positive number, got " + std::to_string(eps),
              norm.error().message);
  }
}

}  // namespace
}  // namespace fptq::ops
