#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/dense_gemm/dispatch.h"
#include "kernels/kernel_test_support.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;
using testing::StoredValues;

constexpr ElementType kTypes[] = {ElementType::kF32, ElementType::kBF16, ElementType::kF16};

// A random product, with gaps between rows and weights at an odd address.
struct Problem {
  Problem(std::size_t tokens, std::size_t channels, std::size_t depth, ElementType type)
      : m(tokens),
        n(channels),
        k(depth),
        x(random_floats(m * (k + 3), 11)),
        w(random_floats(n * (k + 1), 12), type, 1),
        scratch(kDenseGemmScratchFloats, std::numeric_limits<float>::quiet_NaN()) {
    args = {x.data(), k + 3, w.data(), k + 1, type, nullptr, n + 2, m, n, k, scratch.data()};
  }

  // y with its gaps, which hold 7 before and after.
  std::vector<float> run(DenseGemmFn function) {
    std::vector<float> y(m * (n + 2), 7.0f);
    args.y = y.data();
    function(args);
    return y;
  }

  std::size_t m, n, k;
  std::vector<float> x;
  StoredValues w;
  std::vector<float> scratch;
  DenseGemmArgs args{};
};

TEST(DenseGemmScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  for (const ElementType type : kTypes) {
    for (const std::size_t m : {1u, 5u}) {
      Problem p(m, 9, 1100, type);
      const std::vector<float> y = p.run(dense_gemm_scalar);
      for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < p.n; ++j) {
          double sum = 0.0;
          double magnitude = 0.0;
          for (std::size_t k = 0; k < p.k; ++k) {
            const double term =
                static_cast<double>(p.x[i * (p.k + 3) + k]) * p.w.values[j * (p.k + 1) + k];
            sum += term;
            magnitude += std::abs(term);
          }
          // A lane rounds once per fma, ceil(k / 16) times; the tree rounds 4 times more.
          const double roundings = std::ceil(static_cast<double>(p.k) / 16) + 4;
          const double unit = std::numeric_limits<float>::epsilon() / 2;
          EXPECT_NEAR(sum, y[i * (p.n + 2) + j], 1.01 * roundings * unit * magnitude);
        }
      }
    }
  }
}

TEST(DenseGemmScalar, AddsLanesInTheOrderOfTheContract) {
  // The same sums written out; with random values another order would round differently.
  constexpr std::size_t kDepth = 35;
  Problem p(1, 1, kDepth, ElementType::kF32);
  float lanes[16] = {};
  for (std::size_t k = 0; k < 48; ++k) {
    const float x = k < kDepth ? p.x[k] : 0.0f;
    const float w = k < kDepth ? p.w.values[k] : 0.0f;
    lanes[k % 16] = std::fma(w, x, lanes[k % 16]);
  }
  for (std::size_t distance = 8; distance > 0; distance /= 2) {
    for (std::size_t i = 0; i < distance; ++i) lanes[i] += lanes[i + distance];
  }
  EXPECT_EQ(lanes[0], p.run(dense_gemm_scalar)[0]);
}

class DenseGemm : public ::testing::TestWithParam<Variant<DenseGemmFn>> {};

TEST_P(DenseGemm, MatchesScalarBitForBitOnAwkwardShapes) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const ElementType type : kTypes) {
    for (const std::size_t m : {1u, 2u, 3u, 4u, 5u, 7u, 9u}) {
      for (const std::size_t n : {1u, 2u, 4u, 5u, 6u, 7u, 13u}) {
        for (const std::size_t k :
             {1u, 2u, 3u, 15u, 16u, 17u, 31u, 33u, 63u, 64u, 65u, 127u, 129u, 255u, 576u}) {
          SCOPED_TRACE(::testing::Message() << "m=" << m << " n=" << n << " k=" << k);
          Problem p(m, n, k, type);
          expect_same_bits(p.run(dense_gemm_scalar), p.run(GetParam().run));
        }
      }
    }
  }
}

TEST_P(DenseGemm, MatchesScalarBitForBitAcrossBlocksOfTokensAndDepth) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t m : {31u, 33u, 131u}) {
    for (const std::size_t k : {1023u, 1024u, 1025u, 2063u}) {
      SCOPED_TRACE(::testing::Message() << "m=" << m << " k=" << k);
      Problem p(m, 8, k, ElementType::kBF16);
      expect_same_bits(p.run(dense_gemm_scalar), p.run(GetParam().run));
    }
  }
}

TEST_P(DenseGemm, GivesTheSameBitsOnEveryArchitecture) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  const std::vector<float> x = testing::portable_floats(5 * 700, 1);
  const StoredValues w(testing::portable_floats(9 * 700, 2), ElementType::kF16, 0);
  std::vector<float> scratch(kDenseGemmScratchFloats);
  std::vector<float> y(5 * 9);
  GetParam().run(
      {x.data(), 700, w.data(), 700, ElementType::kF16, y.data(), 9, 5, 9, 700, scratch.data()});
  // Made by the scalar variant on x86-64.
  EXPECT_EQ(16547758682085136132u, testing::bits_hash(y));
}

TEST_P(DenseGemm, GivesTheSameBitsForATokenAloneAndInABatch) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Problem p(10, 21, 1337, ElementType::kF16);
  const std::vector<float> batch = p.run(GetParam().run);
  std::vector<float> alone(batch.size(), 7.0f);
  for (std::size_t i = 0; i < p.m; ++i) {
    DenseGemmArgs args = p.args;
    args.x += i * args.x_stride;
    args.y = alone.data() + i * args.y_stride;
    args.m = 1;
    GetParam().run(args);
  }
  expect_same_bits(batch, alone);
}

TEST_P(DenseGemm, WidensEvery16BitWeightExactly) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  // One channel per bit pattern, over a depth of 1.
  std::vector<std::uint16_t> w(65536);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<std::uint16_t>(i);
  const std::vector<float> x = {1.0f, 1.0f};
  std::vector<float> scratch(kDenseGemmScratchFloats);
  for (const ElementType type : {ElementType::kBF16, ElementType::kF16}) {
    for (const std::size_t m : {1u, 2u}) {
      std::vector<float> y(m * w.size());
      GetParam().run(
          {x.data(), 1, w.data(), 1, type, y.data(), w.size(), m, w.size(), 1, scratch.data()});
      for (std::size_t i = 0; i < w.size(); ++i) {
        const float expected = type == ElementType::kF16 ? f16_to_f32(w[i]) : bf16_to_f32(w[i]);
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(y[i])) << "bits " << i;
        } else {
          ASSERT_EQ(expected, y[i]) << "bits " << i;
        }
      }
    }
  }
}

TEST_P(DenseGemm, WritesNothingForNoTokensOrNoChannels) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const auto& [m, n] : {std::pair<std::size_t, std::size_t>{0, 3}, {3, 0}, {1, 0}}) {
    Problem p(3, 3, 20, ElementType::kF32);
    p.args.m = m;
    p.args.n = n;
    const std::vector<float> y = p.run(GetParam().run);
    EXPECT_EQ(static_cast<std::ptrdiff_t>(y.size()), std::count(y.begin(), y.end(), 7.0f));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, DenseGemm,
                         ::testing::ValuesIn(dense_gemm_variants().begin(),
                                             dense_gemm_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
