#include <cmath>
#include <limits>

#include "kernels/kernel_test_support.h"
#include "kernels/silu_mul/dispatch.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

std::vector<float> run(SiluMulFn function, std::vector<float> gate, const std::vector<float>& up) {
  function({gate.data(), up.data(), gate.data(), gate.size()});
  return gate;
}

TEST(SiluMulScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  const std::vector<float> gate = random_floats(2000, 1, 8.0f);
  const std::vector<float> up = random_floats(2000, 2);
  const std::vector<float> y = run(silu_mul_scalar, gate, up);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double g = gate[i];
    const double expected = g / (1 + std::exp(-g)) * up[i];
    // exp is 1.1 ulp off, which is at most 2.2 units; sum, quotient and product round once each.
    const double relative = 5.21 * std::numeric_limits<float>::epsilon() / 2;
    ASSERT_NEAR(expected, y[i], relative * std::abs(expected)) << "gate " << g;
  }
}

TEST(SiluMulScalar, IsZeroForVeryNegativeGatesAndUpForLargeOnes) {
  const std::vector<float> y =
      run(silu_mul_scalar, {0.0f, -200.0f, -1e30f, 200.0f, 1e20f}, {3.0f, 3.0f, 3.0f, 3.0f, 3.0f});
  EXPECT_EQ((std::vector<float>{0.0f, -0.0f, -0.0f, 600.0f, 3e20f}), y);
}

class SiluMul : public ::testing::TestWithParam<Variant<SiluMulFn>> {};

TEST_P(SiluMul, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t count : {0u, 1u, 2u, 3u, 5u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u, 63u, 64u,
                                  65u, 127u, 129u, 1536u}) {
    SCOPED_TRACE(::testing::Message() << "count=" << count);
    const std::vector<float> gate = random_floats(count, 3, 20.0f);
    const std::vector<float> up = random_floats(count, 4);
    expect_same_bits(run(silu_mul_scalar, gate, up), run(GetParam().run, gate, up));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, SiluMul,
                         ::testing::ValuesIn(silu_mul_variants().begin(),
                                             silu_mul_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
