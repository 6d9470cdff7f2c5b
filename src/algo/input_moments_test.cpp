#include "algo/input_moments.h"

#include <gtest/gtest.h>

#include <cmath>

#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::random_values;

constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni, Isa::kAmx, Isa::kNeon};

void expect_near(const std::vector<float>& expected, const std::vector<float>& actual,
                 double bound) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(expected[i], actual[i], bound) << i;
}

TEST(Moments, AreSumsOfOuterProducts) {
  ThreadPool pool(1);
  MomentAccumulator accumulator(2, true, Isa::kScalar);
  const std::vector<float> xq = {1, 2, 3, -1};
  const std::vector<float> shift = {1, -2, -2, 2};
  accumulator.add(xq.data(), shift.data(), 2, pool);
  const InputMoments moments = accumulator.finish(pool);
  EXPECT_EQ(moments.width, 2u);
  EXPECT_EQ(moments.tokens, 2u);
  // Half a step of 3 / 8127 in either factor.
  expect_near({10, -1, -1, 5}, moments.gram, 2e-3);
  expect_near({-5, 4, 4, -6}, moments.shift, 2e-3);
}

TEST(Moments, StayWithinRoundingOfADoubleOracle) {
  constexpr std::size_t kWidth = 37;
  constexpr std::size_t kTokens = 700;
  ThreadPool pool(1);
  const std::vector<float> x = random_values(kTokens * kWidth, 1, 1.0);
  const InputMoments moments = testing::moments_of(x, kWidth, pool);
  for (std::size_t i = 0; i < kWidth; ++i) {
    for (std::size_t j = 0; j < kWidth; ++j) {
      double sum = 0;
      for (std::size_t t = 0; t < kTokens; ++t) {
        sum += static_cast<double>(x[t * kWidth + i]) * x[t * kWidth + j];
      }
      // Normal inputs reach 4: both factors of a term are off by up to half of 4 / 8127, evenly
      // spread. Five standard deviations of their sum; on the diagonal they go together.
      const double noise = (i == j ? 2 : std::sqrt(2.0)) * 4 / 8127 / std::sqrt(12.0);
      EXPECT_NEAR(sum, moments.gram[i * kWidth + j], 5 * noise * std::sqrt(700.0));
      EXPECT_EQ(moments.gram[i * kWidth + j], moments.gram[j * kWidth + i]);
    }
  }
}

TEST(Moments, DependOnTheTokensOnly) {
  constexpr std::size_t kWidth = 210;  // more than a tile
  constexpr std::size_t kTokens = 2100;
  const std::vector<float> xq = random_values(kTokens * kWidth, 2, 1.0);
  const std::vector<float> shift = random_values(kTokens * kWidth, 3, 0.1);
  ThreadPool one(1);
  MomentAccumulator whole(kWidth, true, Isa::kScalar);
  whole.add(xq.data(), shift.data(), kTokens, one);
  const InputMoments expected = whole.finish(one);
  ThreadPool three(3);
  for (const Isa isa : kIsas) {
    if (!cpu_supports(isa)) continue;
    MomentAccumulator pieces(kWidth, true, isa);
    std::size_t done = 0;
    for (const std::size_t rows : {1u, 600u, 0u, 1499u}) {
      pieces.add(xq.data() + done * kWidth, shift.data() + done * kWidth, rows, three);
      done += rows;
    }
    const InputMoments actual = pieces.finish(three);
    EXPECT_EQ(actual.tokens, kTokens);
    EXPECT_EQ(actual.gram, expected.gram) << isa_name(isa);
    EXPECT_EQ(actual.shift, expected.shift) << isa_name(isa);
  }
}

TEST(Moments, StartAnewAfterFinish) {
  ThreadPool pool(1);
  MomentAccumulator accumulator(1, false, Isa::kScalar);
  const float x = 3;
  accumulator.add(&x, nullptr, 1, pool);
  const std::vector<float> first = accumulator.finish(pool).gram;
  EXPECT_FLOAT_EQ(9, first[0]);
  EXPECT_EQ(accumulator.finish(pool).gram, std::vector<float>{0});
  accumulator.add(&x, nullptr, 1, pool);
  const InputMoments again = accumulator.finish(pool);
  EXPECT_EQ(again.gram, first);
  EXPECT_EQ(again.tokens, 1u);
}

TEST(OutputMoment, HasARowPerOutput) {
  ThreadPool pool(1);
  OutputMomentAccumulator accumulator(1, 2, Isa::kScalar);
  const std::vector<float> e = {2, -1};
  const std::vector<float> x = {1, 2, 3, -1};
  accumulator.add_output_moment(e.data(), x.data(), 2, pool);
  expect_near({-1, 5}, accumulator.finish(pool), 2e-3);
}

}  // namespace
}  // namespace fptq::algo
