#include "algo/input_moments.h"

#include <gtest/gtest.h>

#include <cmath>

#include "algo/test_inputs.h"

namespace fptq::algo {
namespace {

using testing::random_values;

constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni, Isa::kNeon};

TEST(Moments, AreSumsOfOuterProducts) {
  ThreadPool pool(1);
  MomentAccumulator accumulator(2, true, Isa::kScalar);
  const std::vector<float> xq = {1, 2, 3, -1};
  const std::vector<float> xf = {2, 0, 1, 1};
  accumulator.add(xq.data(), xf.data(), 2, pool);
  const InputMoments moments = accumulator.finish(pool);
  EXPECT_EQ(moments.width, 2u);
  EXPECT_EQ(moments.tokens, 2u);
  EXPECT_EQ(moments.gram, (std::vector<float>{10, -1, -1, 5}));
  EXPECT_EQ(moments.cross, (std::vector<float>{5, 3, 3, -1}));
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
      double size = 0;
      for (std::size_t t = 0; t < kTokens; ++t) {
        const double term = static_cast<double>(x[t * kWidth + i]) * x[t * kWidth + j];
        sum += term;
        size += std::abs(term);
      }
      // 32 tokens per lane, 4 levels of the tree, 2 chunks.
      EXPECT_NEAR(sum, moments.gram[i * kWidth + j], 38 * 0x1.0p-24 * size);
      EXPECT_EQ(moments.gram[i * kWidth + j], moments.gram[j * kWidth + i]);
    }
  }
}

TEST(Moments, DependOnTheTokensOnly) {
  constexpr std::size_t kWidth = 210;  // more than a tile
  constexpr std::size_t kTokens = 1040;
  const std::vector<float> xq = random_values(kTokens * kWidth, 2, 1.0);
  const std::vector<float> xf = random_values(kTokens * kWidth, 3, 1.0);
  ThreadPool one(1);
  MomentAccumulator whole(kWidth, true, Isa::kScalar);
  whole.add(xq.data(), xf.data(), kTokens, one);
  const InputMoments expected = whole.finish(one);
  ThreadPool three(3);
  for (const Isa isa : kIsas) {
    if (!cpu_supports(isa)) continue;
    MomentAccumulator pieces(kWidth, true, isa);
    std::size_t done = 0;
    for (const std::size_t rows : {1u, 600u, 0u, 439u}) {
      pieces.add(xq.data() + done * kWidth, xf.data() + done * kWidth, rows, three);
      done += rows;
    }
    const InputMoments actual = pieces.finish(three);
    EXPECT_EQ(actual.tokens, kTokens);
    EXPECT_EQ(actual.gram, expected.gram) << isa_name(isa);
    EXPECT_EQ(actual.cross, expected.cross) << isa_name(isa);
  }
}

TEST(Moments, StartAnewAfterFinish) {
  ThreadPool pool(1);
  MomentAccumulator accumulator(1, false, Isa::kScalar);
  const float x = 3;
  accumulator.add(&x, nullptr, 1, pool);
  EXPECT_EQ(accumulator.finish(pool).gram, std::vector<float>{9});
  EXPECT_EQ(accumulator.finish(pool).gram, std::vector<float>{0});
  accumulator.add(&x, nullptr, 1, pool);
  const InputMoments again = accumulator.finish(pool);
  EXPECT_EQ(again.gram, std::vector<float>{9});
  EXPECT_EQ(again.tokens, 1u);
}

TEST(OutputMoment, HasARowPerOutput) {
  ThreadPool pool(1);
  OutputMomentAccumulator accumulator(1, 2, Isa::kScalar);
  const std::vector<float> e = {2, -1};
  const std::vector<float> x = {1, 2, 3, -1};
  accumulator.add_output_moment(e.data(), x.data(), 2, pool);
  EXPECT_EQ(accumulator.finish(pool), (std::vector<float>{-1, 5}));
}

}  // namespace
}  // namespace fptq::algo
