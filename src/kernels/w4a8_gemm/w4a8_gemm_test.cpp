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

TEST(RecordLayout, PutsScalesAndZeroPointsOfEightGroupsBeforeTheirCodes) {
  const RecordLayout layout = record_layout({.num_bits = 4,
                                             .rows = 32,
                                             .cols = 2048,
                                             .group_width = 32,
                                             .scale_type = ElementType::kF16,
                                             .symmetric = false});
  EXPECT_EQ(8u, layout.groups);
  EXPECT_EQ(8u, layout.slabs);
  EXPECT_EQ(8u * (32 + 8), layout.header_bytes);
  EXPECT_EQ(320u + 8 * kSlabBytes4, layout.record_bytes);
  EXPECT_EQ(8 * layout.record_bytes, layout.block_bytes);
}

TEST(RecordLayout, SharesGroupsEvenlyAndLeavesTheLastRecordTheRest) {
  // 17 groups of 2 slabs in records of 6, 6 and 5; symmetric: no zero points.
  const RecordLayout layout = record_layout({.num_bits = 4,
                                             .rows = 16,
                                             .cols = 17 * 64,
                                             .group_width = 64,
                                             .scale_type = ElementType::kF32,
                                             .symmetric = true});
  EXPECT_EQ(6u, layout.groups);
  EXPECT_EQ(12u, layout.slabs);
  EXPECT_EQ(0u, layout.zero_bytes);
  EXPECT_EQ(6u * 64, layout.header_bytes);
  EXPECT_EQ(3 * layout.header_bytes + 34 * kSlabBytes4, layout.block_bytes);
}

TEST(RecordLayout, MakesABlockOneRecordWhereGroupsCutSlabsOrCodesAreBytes) {
  PackedShape shape{.num_bits = 4,
                    .rows = 16,
                    .cols = 480,
                    .group_width = 24,
                    .scale_type = ElementType::kBF16,
                    .symmetric = true};
  EXPECT_EQ(20u, record_layout(shape).groups);
  EXPECT_EQ(640u + 15 * kSlabBytes4, record_layout(shape).block_bytes);
  shape.num_bits = 8;
  shape.group_width = 32;
  EXPECT_EQ(15u, record_layout(shape).groups);
  // 480 bytes of scales, on whole cache lines.
  EXPECT_EQ(512u + 15 * kSlabBytes8, record_layout(shape).block_bytes);
  shape.cols = 0;
  EXPECT_EQ(0u, record_layout(shape).block_bytes);
}

}  // namespace
}  // namespace fptq::kernels
