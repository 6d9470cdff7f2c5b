#include "kernels/hadamard/dispatch.h"

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/kernel_test_support.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

// Values behind one element that keeps them off any boundary.
std::vector<float> run(HadamardFn function, const std::vector<float>& values, std::size_t block,
                       float scale) {
  std::vector<float> x(values.size() + 1);
  std::copy(values.begin(), values.end(), x.begin() + 1);
  function({.x = x.data() + 1, .count = values.size(), .block = block, .scale = scale});
  return {x.begin() + 1, x.end()};
}

TEST(HadamardScalar, IsSylvestersMatrixOnEveryBlock) {
  const std::vector<float> x = {1, 2, 3, 4, 1, 0, 0, 0};
  EXPECT_EQ((std::vector<float>{5, -1, -2, 0, 0.5f, 0.5f, 0.5f, 0.5f}),
            run(hadamard_scalar, x, 4, 0.5f));
  EXPECT_EQ((std::vector<float>{2, 4, 6, 8, 2, 0, 0, 0}), run(hadamard_scalar, x, 1, 2.0f));
}

TEST(HadamardScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  for (const std::size_t block : {2u, 8u, 16u, 32u, 64u, 128u, 512u, 2048u}) {
    SCOPED_TRACE(::testing::Message() << "block=" << block);
    const std::vector<float> x = random_floats(block, 1);
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
    const std::vector<float> y = run(hadamard_scalar, x, block, scale);
    double magnitudes = 0;
    for (const float value : x) magnitudes += std::abs(static_cast<double>(value));
    // log2(B) sums, the scale's own rounding and the product: each is off by half an ulp at most.
    const double steps = std::log2(static_cast<double>(block)) + 2;
    const double bound =
        1.01 * steps * std::numeric_limits<float>::epsilon() / 2 * magnitudes * scale;
    for (std::size_t j = 0; j < block; ++j) {
      double expected = 0;
      for (std::size_t i = 0; i < block; ++i) {
        expected += std::popcount(i & j) % 2 == 0 ? x[i] : -x[i];
      }
      ASSERT_NEAR(expected / std::sqrt(static_cast<double>(block)), y[j], bound) << "column " << j;
    }
  }
}

TEST(HadamardScalar, SpreadsOneOutlierEvenly) {
  std::vector<float> x(256, 0.0f);
  x[37] = 64.0f;
  for (const float value : run(hadamard_scalar, x, 256, 1.0f / 16)) {
    ASSERT_EQ(4.0f, std::abs(value));
  }
}

class Hadamard : public ::testing::TestWithParam<Variant<HadamardFn>> {};

TEST_P(Hadamard, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (std::size_t block = 1; block <= 16384; block *= 2) {
    for (const std::size_t blocks : {0u, 1u, 2u, 3u}) {
      SCOPED_TRACE(::testing::Message() << "block=" << block << " blocks=" << blocks);
      const std::vector<float> x = random_floats(block * blocks, 2 + block, 20.0f);
      const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
      expect_same_bits(run(hadamard_scalar, x, block, scale), run(GetParam().run, x, block, scale));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, Hadamard,
                         ::testing::ValuesIn(hadamard_variants().begin(),
                                             hadamard_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
