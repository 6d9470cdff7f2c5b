#include <cmath>
#include <limits>

#include "kernels/kernel_test_support.h"
#include "kernels/vector_exp/dispatch.h"
// The exponentials themselves are written over a Vec, here that of the scalar variants.
#include "kernels/simd/vec_scalar.h"
//
#include "kernels/simd/exp.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> run(VectorExpFn function, std::vector<float> x) {
  function({x.data(), x.data(), x.size()});
  return x;
}

// Every 997th float of both signs up to 110, so every exponent many times.
std::vector<float> arguments() {
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < std::bit_cast<std::uint32_t>(110.0f); bits += 997) {
    x.push_back(std::bit_cast<float>(bits));
    x.push_back(-std::bit_cast<float>(bits));
  }
  return x;
}

TEST(VectorExpScalar, StaysWithinTheBoundOfItsComment) {
  const std::vector<float> x = arguments();
  const std::vector<float> y = run(vector_exp_scalar, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = std::exp(static_cast<double>(x[i]));
    if (expected > static_cast<double>(std::numeric_limits<float>::max())) {
      // Near the limit the exact value may round to the largest number or to infinity.
      ASSERT_GE(y[i], std::numeric_limits<float>::max()) << "exp(" << x[i] << ")";
      continue;
    }
    // An ulp of the expected value; 2^-149 below the normal range.
    const double ulp = std::ldexp(1.0, std::max(std::ilogb(expected), -126) - 23);
    ASSERT_NEAR(expected, y[i], 1.1 * ulp) << "exp(" << x[i] << ")";
  }
}

TEST(VectorExpScalar, IsExactAtTheEdges) {
  const std::vector<float> y =
      run(vector_exp_scalar, {0.0f, -0.0f, -kInfinity, -104.0f, -1e30f, 88.73f, 1e30f, kInfinity});
  const std::vector<float> expected = {1, 1, 0, 0, 0, kInfinity, kInfinity, kInfinity};
  EXPECT_EQ(expected, y);
  EXPECT_TRUE(std::isnan(run(vector_exp_scalar, {std::nanf("")})[0]));
}

float exp2_of_negative(float x) {
  return vec_exp2_of_negative(vec_set(x)).lane[0];
}

TEST(Exp2OfNegative, StaysWithinTheBoundOfItsComment) {
  for (std::uint32_t bits = 0; bits < std::bit_cast<std::uint32_t>(100.0f); bits += 997) {
    const float x = -std::bit_cast<float>(bits);
    const double expected = std::exp2(static_cast<double>(x));
    const double ulp = std::ldexp(1.0, std::ilogb(expected) - 23);
    ASSERT_NEAR(expected, exp2_of_negative(x), 1.1 * ulp) << "2^" << x;
  }
}

TEST(Exp2OfNegative, IsExactForIntegersAndZeroBelowItsRange) {
  for (int n = 0; n <= 100; ++n) {
    EXPECT_EQ(std::ldexp(1.0f, -n), exp2_of_negative(static_cast<float>(-n)));
  }
  for (const float x : {-100.01f, -126.0f, -150.0f, -1e6f, -1e30f, -kInfinity}) {
    EXPECT_EQ(0.0f, exp2_of_negative(x)) << "2^" << x;
  }
  EXPECT_EQ(1.0f, exp2_of_negative(-0.0f));
  EXPECT_TRUE(std::isnan(exp2_of_negative(std::nanf(""))));
}

class VectorExp : public ::testing::TestWithParam<Variant<VectorExpFn>> {};

TEST_P(VectorExp, MatchesScalarBitForBitOnEveryExponent) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  std::vector<float> x = arguments();
  x.insert(x.end(), {kInfinity, -kInfinity, -104.0f, 88.73f, 1e30f, -1e30f});
  expect_same_bits(run(vector_exp_scalar, x), run(GetParam().run, x));
}

TEST_P(VectorExp, MatchesScalarBitForBitForEveryLength) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (std::size_t count = 0; count <= 67; ++count) {
    const std::vector<float> x = random_floats(count, count, 10.0f);
    expect_same_bits(run(vector_exp_scalar, x), run(GetParam().run, x));
  }
}

TEST_P(VectorExp, KeepsNan) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const float y : run(GetParam().run, std::vector<float>(17, std::nanf("")))) {
    EXPECT_TRUE(std::isnan(y));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, VectorExp,
                         ::testing::ValuesIn(vector_exp_variants().begin(),
                                             vector_exp_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
