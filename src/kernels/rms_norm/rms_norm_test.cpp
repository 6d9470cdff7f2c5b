#include <cmath>
#include <limits>

#include "kernels/kernel_test_support.h"
#include "kernels/rms_norm/dispatch.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

// rows x dim values with a gap of one element between rows, normalized in place.
std::vector<float> run(RmsNormFn function, std::size_t rows, std::size_t dim, float scale = 1.0f,
                       float eps = 1e-5f) {
  std::vector<float> x = random_floats(rows * (dim + 1), 1, scale);
  const std::vector<float> w = random_floats(dim, 2);
  function({x.data(), dim + 1, w.data(), x.data(), dim + 1, rows, dim, eps});
  return x;
}

TEST(RmsNormScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  for (const std::size_t dim : {1u, 7u, 576u, 2048u}) {
    for (const float scale : {1e-6f, 1.0f, 1e6f}) {
      const std::vector<float> x = random_floats(dim + 1, 1, scale);
      const std::vector<float> w = random_floats(dim, 2);
      const std::vector<float> y = run(rms_norm_scalar, 1, dim, scale);
      double squares = 0.0;
      for (std::size_t d = 0; d < dim; ++d) squares += static_cast<double>(x[d]) * x[d];
      const double r = 1 / std::sqrt(squares / static_cast<double>(dim) + 1e-5f);
      // The square root halves the error of the sum (dim / 16 + 4 roundings), of the mean and of
      // adding eps; then root, quotient and two products round.
      const double roundings = (std::ceil(static_cast<double>(dim) / 16) + 6) / 2 + 4;
      const double relative = 1.01 * roundings * std::numeric_limits<float>::epsilon() / 2;
      for (std::size_t d = 0; d < dim; ++d) {
        const double expected = x[d] * r * w[d];
        ASSERT_NEAR(expected, y[d], relative * std::abs(expected));
      }
    }
  }
}

TEST(RmsNormScalar, KeepsZerosAndNeighboursOfRows) {
  std::vector<float> x = {0, 0, 9, 3, 4, 9};
  const std::vector<float> w = {1, 2};
  rms_norm_scalar({x.data(), 3, w.data(), x.data(), 3, 2, 2, 1e-6f});
  EXPECT_EQ(0.0f, x[0]);
  EXPECT_EQ(9.0f, x[2]);
  // 3 / sqrt(12.5) and 2 * 4 / sqrt(12.5)
  EXPECT_NEAR(0.8485281f, x[3], 1e-6f);
  EXPECT_NEAR(2.2627417f, x[4], 1e-6f);
  EXPECT_EQ(9.0f, x[5]);
}

class RmsNorm : public ::testing::TestWithParam<Variant<RmsNormFn>> {};

TEST_P(RmsNorm, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t rows : {0u, 1u, 3u}) {
    for (const std::size_t dim : {1u, 2u, 3u, 5u, 7u, 15u, 16u, 17u, 31u, 33u, 63u, 64u, 65u, 127u,
                                  129u, 255u, 576u, 1023u, 2048u}) {
      SCOPED_TRACE(::testing::Message() << "rows=" << rows << " dim=" << dim);
      expect_same_bits(run(rms_norm_scalar, rows, dim), run(GetParam().run, rows, dim));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, RmsNorm,
                         ::testing::ValuesIn(rms_norm_variants().begin(),
                                             rms_norm_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
