#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/dense_gemm/dispatch.h"
#include "kernels/kernel_test_support.h"
#include "kernels/nf4a16_gemm/dispatch.h"
#include "numeric/code_table.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::portable_floats;
using testing::random_floats;

// A random product with n rows of a matrix that has two more before and one behind them, codes at
// an odd address and gaps between rows of x and y.
struct Problem {
  Problem(std::size_t tokens, std::size_t channels, std::size_t depth, std::size_t block,
          CodeType type = CodeType::kNf4)
      : m(tokens),
        n(channels),
        k(depth),
        x(random_floats(m * (k + 3), 11)),
        codes((kBefore + n + 1) * k / 2 + 2),
        absmax(((kBefore + n + 1) * k + block - 1) / block),
        scratch(kNf4a16GemmScratchFloats, std::numeric_limits<float>::quiet_NaN()) {
    Rng rng(12);
    for (std::uint8_t& byte : codes) byte = static_cast<std::uint8_t>(rng.below(256));
    for (float& constant : absmax) constant = static_cast<float>(rng.below(1000) + 1) * 1e-3f;
    args = {.x = x.data(),
            .x_stride = k + 3,
            .codes = codes.data() + 1,
            .absmax = absmax.data(),
            .table = code_table(type).data(),
            .block_size = block,
            .row_begin = kBefore,
            .y = nullptr,
            .y_stride = n + 2,
            .m = m,
            .n = n,
            .k = k,
            .scratch = scratch.data()};
  }

  // y with its gaps, which hold 7 before and after.
  std::vector<float> run(Nf4a16GemmFn function) {
    std::vector<float> y(m * (n + 2), 7.0f);
    args.y = y.data();
    function(args);
    return y;
  }

  // [n, k] as float32.
  [[nodiscard]] std::vector<float> weights() const {
    std::vector<float> w(n * k);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::size_t e = kBefore * k + i;
      w[i] = args.table[table_code(args.codes, e)] * absmax[e / args.block_size];
    }
    return w;
  }

  static constexpr std::size_t kBefore = 2;
  std::size_t m, n, k;
  std::vector<float> x;
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
  std::vector<float> scratch;
  Nf4a16GemmArgs args{};
};

TEST(Nf4a16GemmScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  for (const CodeType type : {CodeType::kNf4, CodeType::kFp4}) {
    for (const std::size_t m : {1u, 3u, 7u}) {
      for (const std::size_t k : {1u, 31u, 64u, 96u, 288u}) {
        Problem p(m, 5, k, 64, type);
        const std::vector<float> y = p.run(nf4a16_gemm_scalar);
        const std::vector<float> w = p.weights();
        for (std::size_t i = 0; i < m; ++i) {
          for (std::size_t j = 0; j < p.n; ++j) {
            double sum = 0;
            double magnitude = 0;
            for (std::size_t c = 0; c < k; ++c) {
              const double product = double{p.x[i * (k + 3) + c]} * double{w[j * k + c]};
              sum += product;
              magnitude += std::abs(product);
            }
            // One rounding per element of a lane, and four in the tree.
            const double roundings = std::ceil(static_cast<double>(k) / 16) + 4;
            const double unit = double{std::numeric_limits<float>::epsilon()} / 2;
            EXPECT_NEAR(sum, y[i * (p.n + 2) + j], 1.01 * roundings * unit * magnitude);
          }
        }
      }
    }
  }
}

TEST(Nf4a16GemmScalar, HasTheBitsOfADenseProductWithTheSameWeights) {
  for (const std::size_t m : {1u, 4u, 9u}) {
    for (const std::size_t k : {17u, 64u, 288u, 1344u}) {
      Problem p(m, 7, k, 64);
      const std::vector<float> w = p.weights();
      std::vector<float> dense(m * (p.n + 2), 7.0f);
      dense_gemm_scalar({p.x.data(), k + 3, w.data(), k, ElementType::kF32, dense.data(), p.n + 2,
                         m, p.n, k, p.scratch.data()});
      expect_same_bits(dense, p.run(nf4a16_gemm_scalar));
    }
  }
}

class Nf4a16Gemm : public ::testing::TestWithParam<Variant<Nf4a16GemmFn>> {};

TEST_P(Nf4a16Gemm, MatchesScalarBitForBitOnAwkwardShapes) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t block : {32u, 64u, 256u}) {
    for (const std::size_t m : {1u, 2u, 3u, 4u, 5u, 9u}) {
      for (const std::size_t n : {1u, 2u, 4u, 5u, 7u, 13u}) {
        // Odd rows, rows that blocks straddle, rows of whole blocks.
        for (const std::size_t k :
             {1u, 2u, 15u, 16u, 17u, 31u, 32u, 33u, 48u, 64u, 96u, 127u, 128u, 129u, 288u, 320u}) {
          SCOPED_TRACE(::testing::Message()
                       << "block=" << block << " m=" << m << " n=" << n << " k=" << k);
          Problem p(m, n, k, block);
          expect_same_bits(p.run(nf4a16_gemm_scalar), p.run(GetParam().run));
        }
      }
    }
  }
}

TEST_P(Nf4a16Gemm, MatchesScalarBitForBitAcrossBlocksOfTokensAndDepth) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t m : {33u, 131u}) {
    for (const std::size_t k : {656u, 1024u, 1025u, 2064u}) {
      SCOPED_TRACE(::testing::Message() << "m=" << m << " k=" << k);
      Problem p(m, 8, k, 4096, CodeType::kFp4);
      expect_same_bits(p.run(nf4a16_gemm_scalar), p.run(GetParam().run));
    }
  }
}

TEST_P(Nf4a16Gemm, LooksUpEveryCodeAtEveryPlace) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  // Row r holds code c at element r, zeros elsewhere: y is the table's entry.
  constexpr std::size_t kDepth = 128;
  for (const CodeType type : {CodeType::kNf4, CodeType::kFp4}) {
    const auto table = code_table(type);
    const unsigned zero = type == CodeType::kNf4 ? 7 : 0;
    std::vector<float> scratch(kNf4a16GemmScratchFloats);
    const std::vector<float> x(kDepth * 5, 1.0f);
    const std::vector<float> absmax(kDepth * kDepth / 64, 0.5f);
    for (unsigned code = 0; code < kTableEntries; ++code) {
      std::vector<std::uint8_t> codes(kDepth * kDepth / 2,
                                      static_cast<std::uint8_t>(zero << 4 | zero));
      for (std::size_t r = 0; r < kDepth; ++r) {
        std::uint8_t& byte = codes[(r * kDepth + r) / 2];
        byte = static_cast<std::uint8_t>(r % 2 == 0 ? code << 4 | zero : zero << 4 | code);
      }
      for (const std::size_t m : {1u, 5u}) {
        std::vector<float> y(m * kDepth);
        GetParam().run({x.data(), kDepth, codes.data(), absmax.data(), table.data(), 64, 0,
                        y.data(), kDepth, m, kDepth, kDepth, scratch.data()});
        for (const float value : y) ASSERT_EQ(table[code] * 0.5f, value) << "code " << code;
      }
    }
  }
}

TEST_P(Nf4a16Gemm, GivesTheSameBitsOnEveryArchitecture) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  const std::vector<float> x = portable_floats(5 * 288, 1);
  std::vector<std::uint8_t> codes(9 * 288 / 2);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i * 37 + 5);
  std::vector<float> absmax(9 * 288 / 32);
  for (std::size_t i = 0; i < absmax.size(); ++i) {
    absmax[i] = static_cast<float>(i % 13 + 1) * 0.01f;
  }
  std::vector<float> scratch(kNf4a16GemmScratchFloats);
  std::vector<float> y(5 * 9);
  GetParam().run({x.data(), 288, codes.data(), absmax.data(), code_table(CodeType::kNf4).data(), 32,
                  0, y.data(), 9, 5, 9, 288, scratch.data()});
  // Made by the scalar variant on x86-64.
  EXPECT_EQ(14515932488205145302u, testing::bits_hash(y));
}

TEST_P(Nf4a16Gemm, GivesTheSameBitsForATokenAloneAndInABatch) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Problem p(10, 21, 1344, 64);
  const std::vector<float> batch = p.run(GetParam().run);
  std::vector<float> alone(batch.size(), 7.0f);
  for (std::size_t i = 0; i < p.m; ++i) {
    Nf4a16GemmArgs args = p.args;
    args.x += i * args.x_stride;
    args.y = alone.data() + i * args.y_stride;
    args.m = 1;
    GetParam().run(args);
  }
  expect_same_bits(batch, alone);
}

TEST_P(Nf4a16Gemm, WritesNothingForNoTokensOrNoChannels) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const auto& [m, n] : {std::pair<std::size_t, std::size_t>{0, 3}, {3, 0}, {1, 0}, {9, 0}}) {
    Problem p(9, 3, 32, 32);
    p.args.m = m;
    p.args.n = n;
    const std::vector<float> y = p.run(GetParam().run);
    EXPECT_EQ(static_cast<std::ptrdiff_t>(y.size()), std::count(y.begin(), y.end(), 7.0f));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, Nf4a16Gemm,
                         ::testing::ValuesIn(nf4a16_gemm_variants().begin(),
                                             nf4a16_gemm_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
