#include <gtest/gtest.h>

#include "kernels/integer_gemm/test_support.h"
#include "kernels/w4a8_gemm/dispatch.h"

namespace fptq::kernels {
namespace {

constexpr int kBits = 4;

TEST(W4A8GemmScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  testing::expect_close_to_oracle(kBits, w4a8_gemm_scalar);
}

class W4A8Gemm : public ::testing::TestWithParam<Variant<IntegerGemmFn>> {};

TEST_P(W4A8Gemm, MatchesScalarBitForBitAroundBlockEdges) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  testing::expect_same_bits_around_block_edges(kBits, GetParam().run, w4a8_gemm_scalar);
}

TEST_P(W4A8Gemm, MatchesScalarBitForBitForEveryBatchSize) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  testing::expect_same_bits_for_every_batch_size(kBits, GetParam().run, w4a8_gemm_scalar);
}

TEST_P(W4A8Gemm, MatchesScalarBitForBitForEveryScheme) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  testing::expect_same_bits_for_every_scheme(kBits, GetParam().run, w4a8_gemm_scalar);
}

TEST_P(W4A8Gemm, MatchesScalarBitForBitWhereSumsAreLargest) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  testing::expect_same_bits_at_the_extremes(kBits, GetParam().run, w4a8_gemm_scalar);
}

TEST_P(W4A8Gemm, ComputesRowsAndBlocksIndependently) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  testing::expect_rows_and_blocks_independent(kBits, GetParam().run);
}

// Every variant but the reference itself.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(W4A8Gemm);
INSTANTIATE_TEST_SUITE_P(Variants, W4A8Gemm,
                         ::testing::ValuesIn(w4a8_gemm_variants().begin(),
                                             w4a8_gemm_variants().end() - 1),
                         testing::VariantName());

TEST(W4A8GemmScalar, ComputesRowsAndBlocksIndependently) {
  testing::expect_rows_and_blocks_independent(kBits, w4a8_gemm_scalar);
}

TEST(SelectW4A8Gemm, RunsGroupsThatAreNotWholeSlabsOnTheScalarKernel) {
  const Isa fast = w4a8_gemm_variants().front().isa;
  EXPECT_EQ(fast, select_w4a8_gemm(fast, 4096, 64).isa);
  EXPECT_EQ(Isa::kScalar, select_w4a8_gemm(fast, 4096, 48).isa);
  // One group for a whole row may end anywhere.
  EXPECT_EQ(fast, select_w4a8_gemm(fast, 48, 48).isa);
}

}  // namespace
}  // namespace fptq::kernels
