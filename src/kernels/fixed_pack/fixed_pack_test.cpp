#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/fixed_pack/dispatch.h"
#include "kernels/kernel_test_support.h"

namespace fptq::kernels {
namespace {

using testing::random_floats;

struct Packed {
  std::vector<std::int32_t> words;
  std::vector<float> scales;
  std::size_t word_stride;

  // The number of `line`, a row or a column, and its place there.
  [[nodiscard]] std::int32_t number(bool by_columns, std::size_t line, std::size_t place) const {
    const std::int32_t word =
        by_columns ? words[place / 2 * word_stride + line] : words[line * word_stride + place / 2];
    return place % 2 == 0 ? static_cast<std::int16_t>(word & 0xFFFF) : word >> 16;
  }
};

// x [rows, cols] with a gap of 3 between rows.
Packed pack(FixedPackFn function, const std::vector<float>& x, std::size_t rows, std::size_t cols,
            bool by_columns) {
  Packed packed;
  packed.word_stride = by_columns ? fixed_channels(cols) + 1 : fixed_words(cols) + 1;
  packed.words.assign(packed.word_stride * (by_columns ? fixed_words(rows) : rows), 77);
  packed.scales.assign(by_columns ? cols : rows, -1.0f);
  function({x.data(), cols + 3, rows, cols, by_columns, packed.words.data(), packed.word_stride,
            packed.scales.data()});
  return packed;
}

TEST(FixedPackScalar, IsWithinHalfAStepOfEveryValueAndPadsWithZeros) {
  constexpr std::size_t kRows = 37;
  constexpr std::size_t kCols = 21;
  const std::vector<float> x = random_floats(kRows * (kCols + 3), 5, 20.0f);
  for (const bool by_columns : {false, true}) {
    const Packed packed = pack(fixed_pack_scalar, x, kRows, kCols, by_columns);
    const std::size_t places = by_columns ? kRows : kCols;
    for (std::size_t line = 0; line < (by_columns ? kCols : kRows); ++line) {
      float absmax = 0;
      const double scale = packed.scales[line];
      for (std::size_t place = 0; place < 2 * fixed_words(places); ++place) {
        const std::int32_t number = packed.number(by_columns, line, place);
        if (place >= places) {
          ASSERT_EQ(0, number);
          continue;
        }
        const float value =
            by_columns ? x[place * (kCols + 3) + line] : x[line * (kCols + 3) + place];
        absmax = std::max(absmax, std::abs(value));
        ASSERT_NEAR(value, number * scale, 0.501 * scale);
        ASSERT_LE(std::abs(number), kFixedLimit);
      }
      ASSERT_EQ(absmax / static_cast<float>(kFixedLimit), packed.scales[line]);
    }
  }
}

TEST(FixedPackScalar, GivesTheLargestValueTheLargestNumberAndTiesToEven) {
  const float step = 2.0f;
  const std::vector<float> x = {8127 * step, 0.5f * step, 1.5f * step, -2.5f * step, 0, 0, 0};
  const Packed packed = pack(fixed_pack_scalar, x, 1, 4, false);
  EXPECT_EQ(step, packed.scales[0]);
  EXPECT_EQ(8127, packed.number(false, 0, 0));
  EXPECT_EQ(0, packed.number(false, 0, 1));
  EXPECT_EQ(2, packed.number(false, 0, 2));
  EXPECT_EQ(-2, packed.number(false, 0, 3));
}

TEST(FixedPackScalar, SaysWhereValuesAreNotFiniteAndTakesZerosAsTheyAre) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, infinity, -infinity}) {
    for (const bool by_columns : {false, true}) {
      // 2 x 2: the first row and column hold it, the second ones 1 and 2 or, below, zeros.
      const std::vector<float> x = {bad, 1, 0, 0, 0, 1, 2, 0, 0, 0};
      const Packed packed = pack(fixed_pack_scalar, x, 2, 2, by_columns);
      EXPECT_TRUE(std::isnan(packed.scales[0]));
      EXPECT_EQ(0, packed.number(by_columns, 0, 0));
      EXPECT_EQ(0, packed.number(by_columns, 0, 1));
      EXPECT_EQ(2.0f / 8127.0f, packed.scales[1]);
    }
  }
  const Packed zeros = pack(fixed_pack_scalar, {0, -0.0f, 1e-31f, 9, 9, 9}, 1, 3, false);
  EXPECT_EQ(0.0f, zeros.scales[0]);
  for (std::size_t place = 0; place < 3; ++place) EXPECT_EQ(0, zeros.number(false, 0, place));
}

class FixedPack : public ::testing::TestWithParam<Variant<FixedPackFn>> {};

TEST_P(FixedPack, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t rows : {0u, 1u, 2u, 63u, 64u, 65u}) {
    for (const std::size_t cols : {0u, 1u, 15u, 16u, 17u, 64u, 65u}) {
      for (const bool by_columns : {false, true}) {
        SCOPED_TRACE(::testing::Message() << "rows=" << rows << " cols=" << cols);
        const std::vector<float> x = random_floats(rows * (cols + 3), rows + cols, 3.0f);
        const Packed expected = pack(fixed_pack_scalar, x, rows, cols, by_columns);
        const Packed actual = pack(GetParam().run, x, rows, cols, by_columns);
        ASSERT_EQ(expected.words, actual.words);
        ASSERT_EQ(expected.scales, actual.scales);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, FixedPack,
                         ::testing::ValuesIn(fixed_pack_variants().begin(),
                                             fixed_pack_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
