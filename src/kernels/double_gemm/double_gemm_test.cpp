#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/double_gemm/dispatch.h"
#include "kernels/kernel_test_support.h"

namespace fptq::kernels {
namespace {

std::vector<double> random_doubles(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<double> values(count);
  for (double& value : values) value = rng.normal();
  return values;
}

// A random product with gaps between rows.
struct Problem {
  Problem(std::size_t rows, std::size_t columns, std::size_t depth)
      : m(rows),
        n(columns),
        k(depth),
        a(random_doubles(m * (k + 3), 21)),
        b(random_doubles(k * (n + 1), 22)),
        start(random_doubles(m * (n + 2), 23)),
        scratch(kDoubleGemmScratchDoubles, std::numeric_limits<double>::quiet_NaN()) {}

  // c with its gaps, which must stay as they are.
  std::vector<double> run(DoubleGemmFn function) {
    std::vector<double> c = start;
    function({a.data(), k + 3, b.data(), n + 1, c.data(), n + 2, m, n, k, scratch.data()});
    return c;
  }

  std::size_t m, n, k;
  std::vector<double> a, b, start, scratch;
};

void expect_same_doubles(const std::vector<double>& expected, const std::vector<double>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint64_t>(expected[i]), std::bit_cast<std::uint64_t>(actual[i]))
        << "element " << i << ": expected " << expected[i] << ", got " << actual[i];
  }
}

TEST(DoubleGemmScalar, IsTheChainOfTheContract) {
  Problem p(5, 7, 300);
  std::vector<double> expected = p.start;
  for (std::size_t i = 0; i < p.m; ++i) {
    for (std::size_t j = 0; j < p.n; ++j) {
      double& c = expected[i * (p.n + 2) + j];
      for (std::size_t k = 0; k < p.k; ++k) {
        c = std::fma(-p.a[i * (p.k + 3) + k], p.b[k * (p.n + 1) + j], c);
      }
    }
  }
  expect_same_doubles(expected, p.run(double_gemm_scalar));
}

class DoubleGemm : public ::testing::TestWithParam<Variant<DoubleGemmFn>> {};

TEST_P(DoubleGemm, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t m : {0u, 1u, 3u, 4u, 5u, 6u, 8u, 9u, 17u}) {
    for (const std::size_t n : {0u, 1u, 7u, 8u, 11u, 12u, 13u, 23u, 24u, 25u, 49u}) {
      for (const std::size_t k : {0u, 1u, 2u, 16u, 255u, 256u, 257u}) {
        SCOPED_TRACE(::testing::Message() << "m=" << m << " n=" << n << " k=" << k);
        Problem p(m, n, k);
        expect_same_doubles(p.run(double_gemm_scalar), p.run(GetParam().run));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, DoubleGemm,
                         ::testing::ValuesIn(double_gemm_variants().begin(),
                                             double_gemm_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
