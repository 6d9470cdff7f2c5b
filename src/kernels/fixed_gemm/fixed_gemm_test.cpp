#include <bit>
#include <cstdint>
#include <vector>

#include "base/aligned_memory.h"
#include "kernels/fixed_gemm/dispatch.h"
#include "kernels/kernel_test_support.h"

namespace fptq::kernels {
namespace {

using testing::random_floats;

std::size_t padded(std::size_t count) {
  return (count + kFixedChannels - 1) / kFixedChannels * kFixedChannels;
}

std::int32_t word_of(std::int32_t first, std::int32_t second) {
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(second) << 16) |
                                   (static_cast<std::uint32_t>(first) & 0xFFFF));
}

// Numbers with the largest magnitudes among them, and gaps between rows of words.
struct Problem {
  Problem(std::size_t rows, std::size_t channels, std::size_t word_count, bool by_rows)
      : m(rows),
        n(channels),
        words(word_count),
        a_row_stride(by_rows ? words + 5 : 1),
        a_word_stride(by_rows ? 1 : padded(m) + 3),
        b_stride(padded(n) + 2),
        a_numbers(numbers(m, 31)),
        b_numbers(numbers(n, 32)),
        a(by_rows ? m * a_row_stride : words * a_word_stride),
        b(words * b_stride),
        a_scale(random_floats(m, 33)),
        b_scale(random_floats(n, 34)),
        start(random_floats(m * (n + 2), 35)),
        scratch(allocate_zeroed(fixed_gemm_scratch_bytes(words))) {
    for (std::size_t w = 0; w < words; ++w) {
      for (std::size_t i = 0; i < m; ++i) {
        const std::int32_t* q = a_numbers.data() + i * 2 * words + 2 * w;
        a[i * a_row_stride + w * a_word_stride] = word_of(q[0], q[1]);
      }
      for (std::size_t j = 0; j < n; ++j) {
        const std::int32_t* q = b_numbers.data() + j * 2 * words + 2 * w;
        b[w * b_stride + j] = word_of(q[0], q[1]);
      }
    }
  }

  [[nodiscard]] std::vector<std::int32_t> numbers(std::size_t rows, std::uint64_t seed) const {
    Rng rng(seed);
    std::vector<std::int32_t> all(rows * 2 * words);
    for (std::int32_t& q : all) {
      q = static_cast<std::int32_t>(rng.below(2 * kFixedLimit + 1)) - kFixedLimit;
      if (rng.below(4) == 0) q = kFixedLimit;
      if (rng.below(16) == 0) q = -kFixedLimit;
    }
    return all;
  }

  // y with its gaps, which must stay as they are.
  std::vector<float> run(FixedGemmFn function, bool accumulate) {
    std::vector<float> y = start;
    function({.a = a.data(),
              .a_row_stride = a_row_stride,
              .a_word_stride = a_word_stride,
              .b = b.data(),
              .b_stride = b_stride,
              .a_scale = a_scale.data(),
              .b_scale = b_scale.data(),
              .y = y.data(),
              .y_stride = n + 2,
              .accumulate = accumulate,
              .m = m,
              .n = n,
              .words = words,
              .scratch = scratch.get()});
    return y;
  }

  std::size_t m, n, words, a_row_stride, a_word_stride, b_stride;
  std::vector<std::int32_t> a_numbers, b_numbers, a, b;
  std::vector<float> a_scale, b_scale, start;
  std::shared_ptr<std::byte> scratch;
};

void expect_same_bits(const std::vector<float>& expected, const std::vector<float>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(expected[i]), std::bit_cast<std::uint32_t>(actual[i]))
        << "element " << i << ": expected " << expected[i] << ", got " << actual[i];
  }
}

TEST(FixedGemmScalar, RoundsTheExactSumOnce) {
  for (const bool by_rows : {false, true}) {
    for (const bool accumulate : {false, true}) {
      Problem p(5, 19, 96, by_rows);
      std::vector<float> expected = p.start;
      for (std::size_t i = 0; i < p.m; ++i) {
        for (std::size_t j = 0; j < p.n; ++j) {
          std::int64_t sum = 0;
          for (std::size_t k = 0; k < 2 * p.words; ++k) {
            sum +=
                std::int64_t{p.a_numbers[i * 2 * p.words + k]} * p.b_numbers[j * 2 * p.words + k];
          }
          float& y = expected[i * (p.n + 2) + j];
          const float product = static_cast<float>(sum) * p.a_scale[i] * p.b_scale[j];
          y = accumulate ? y + product : product;
        }
      }
      expect_same_bits(expected, p.run(fixed_gemm_scalar, accumulate));
    }
  }
}

class FixedGemm : public ::testing::TestWithParam<Variant<FixedGemmFn>> {};

TEST_P(FixedGemm, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t m : {0u, 1u, 4u, 8u, 15u, 16u, 17u, 50u}) {
    for (const std::size_t n : {0u, 1u, 7u, 16u, 23u, 24u, 47u, 48u, 65u}) {
      for (const std::size_t words : {32u, 64u, 320u}) {
        for (const bool by_rows : {false, true}) {
          SCOPED_TRACE(::testing::Message() << "m=" << m << " n=" << n << " words=" << words
                                            << (by_rows ? " by rows" : " by columns"));
          Problem p(m, n, words, by_rows);
          expect_same_bits(p.run(fixed_gemm_scalar, by_rows), p.run(GetParam().run, by_rows));
        }
      }
    }
  }
}

// Every number the largest there is, in the longest sum: nothing overflows.
TEST_P(FixedGemm, HoldsTheLargestSum) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Problem p(2, 3, kFixedMostWords, false);
  for (std::int32_t& word : p.a) word = word_of(-kFixedLimit, -kFixedLimit);
  for (std::int32_t& word : p.b) word = word_of(kFixedLimit, kFixedLimit);
  const double sum = -2.0 * kFixedLimit * kFixedLimit * static_cast<double>(kFixedMostWords);
  const std::vector<float> y = p.run(GetParam().run, false);
  for (std::size_t i = 0; i < p.m; ++i) {
    for (std::size_t j = 0; j < p.n; ++j) {
      ASSERT_EQ(static_cast<float>(sum) * p.a_scale[i] * p.b_scale[j], y[i * (p.n + 2) + j]);
    }
  }
}

// More rows than a call keeps as digits at a time.
TEST_P(FixedGemm, TakesRowsInBlocks) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Problem p(70, 20, 4096, true);
  expect_same_bits(p.run(fixed_gemm_scalar, false), p.run(GetParam().run, false));
}

INSTANTIATE_TEST_SUITE_P(Variants, FixedGemm,
                         ::testing::ValuesIn(fixed_gemm_variants().begin(),
                                             fixed_gemm_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
