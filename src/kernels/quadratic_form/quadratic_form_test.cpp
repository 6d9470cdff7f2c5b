#include <cmath>
#include <limits>

#include "kernels/kernel_test_support.h"
#include "kernels/quadratic_form/dispatch.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

// Random matrices with gaps between rows.
struct Problem {
  Problem(std::size_t row_count, std::size_t inner, std::size_t columns)
      : rows(row_count),
        depth(inner),
        cols(columns),
        left(random_floats(rows * (depth + 3), 31)),
        h(random_floats(depth * (cols + 1), 32)),
        right(random_floats(rows * (cols + 2), 33)) {}

  // y, and behind it a number that must stay as it is.
  [[nodiscard]] std::vector<float> run(QuadraticFormFn function) const {
    std::vector<float> y(rows + 1, -7.0f);
    function({left.data(), depth + 3, h.data(), cols + 1, right.data(), cols + 2, y.data(), rows,
              depth, cols});
    return y;
  }

  std::size_t rows, depth, cols;
  std::vector<float> left, h, right;
};

TEST(QuadraticFormScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  for (const std::size_t depth : {1u, 32u, 128u}) {
    for (const std::size_t cols : {1u, 31u, 32u, 100u}) {
      const Problem p(5, depth, cols);
      const std::vector<float> y = p.run(quadratic_form_scalar);
      for (std::size_t r = 0; r < p.rows; ++r) {
        double expected = 0;
        double magnitude = 0;
        for (std::size_t i = 0; i < depth; ++i) {
          for (std::size_t j = 0; j < cols; ++j) {
            const double term = static_cast<double>(p.left[r * (depth + 3) + i]) *
                                p.h[i * (cols + 1) + j] * p.right[r * (cols + 2) + j];
            expected += term;
            magnitude += std::abs(term);
          }
        }
        // A term is rounded with each sum that it is a part of: depth, then cols / 16 and 4.
        const double roundings = static_cast<double>(depth) + static_cast<double>(cols) / 16 + 6;
        const double unit = std::numeric_limits<float>::epsilon() / 2;
        ASSERT_NEAR(y[r], expected, 1.01 * roundings * unit * magnitude);
      }
    }
  }
}

TEST(QuadraticFormScalar, IsZeroWhereThereIsNothingToAdd) {
  EXPECT_EQ(Problem(3, 0, 20).run(quadratic_form_scalar), (std::vector<float>{0, 0, 0, -7}));
  EXPECT_EQ(Problem(2, 20, 0).run(quadratic_form_scalar), (std::vector<float>{0, 0, -7}));
}

class QuadraticForm : public ::testing::TestWithParam<Variant<QuadraticFormFn>> {};

TEST_P(QuadraticForm, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t rows : {0u, 1u, 2u, 3u, 7u, 8u, 9u, 17u}) {
    for (const std::size_t depth : {0u, 1u, 31u, 32u, 33u, 128u}) {
      for (const std::size_t cols : {0u, 1u, 15u, 16u, 17u, 31u, 32u, 33u, 64u, 129u}) {
        SCOPED_TRACE(::testing::Message()
                     << "rows=" << rows << " depth=" << depth << " cols=" << cols);
        const Problem p(rows, depth, cols);
        expect_same_bits(p.run(quadratic_form_scalar), p.run(GetParam().run));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, QuadraticForm,
                         ::testing::ValuesIn(quadratic_form_variants().begin(),
                                             quadratic_form_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
