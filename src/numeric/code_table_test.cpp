#include "numeric/code_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace fptq {
namespace {

TEST(CodeTable, NormalFloatAscendsFromMinusOneToOne) {
  const auto table = code_table(CodeType::kNf4);
  EXPECT_TRUE(std::is_sorted(table.begin(), table.end()));
  EXPECT_EQ(-1.0f, table[0]);
  EXPECT_EQ(0.0f, table[7]);
  EXPECT_EQ(1.0f, table[15]);
}

TEST(CodeTable, FourBitFloatHasASignBit) {
  const auto table = code_table(CodeType::kFp4);
  for (std::size_t code = 0; code < 8; ++code) EXPECT_EQ(-table[code], table[code + 8]);
  EXPECT_EQ(1.0f, table[3]);
  EXPECT_EQ(0.25f, table[7]);
  EXPECT_FALSE(std::signbit(table[8]));
}

TEST(CodeTable, DynamicMapAscendsWithoutMinusOne) {
  const auto map = dynamic_map();
  EXPECT_TRUE(std::is_sorted(map.begin(), map.end()));
  EXPECT_EQ(-0.992968738079071f, map[0]);
  EXPECT_EQ(0.0f, map[127]);
  EXPECT_EQ(0.992968738079071f, map[254]);
  EXPECT_EQ(1.0f, map[255]);
}

TEST(CodeTable, BlocksArePowersOfTwo) {
  for (const std::size_t size : {32u, 64u, 128u, 4096u}) EXPECT_TRUE(is_table_block_size(size));
  for (const std::size_t size : {0u, 1u, 16u, 48u, 96u, 8192u}) {
    EXPECT_FALSE(is_table_block_size(size)) << size;
  }
}

TEST(CodeTable, FirstCodeOfAByteIsInItsHighBits) {
  const std::uint8_t codes[] = {0x1F, 0xA2};
  EXPECT_EQ(0x1, table_code(codes, 0));
  EXPECT_EQ(0xF, table_code(codes, 1));
  EXPECT_EQ(0xA, table_code(codes, 2));
  EXPECT_EQ(0x2, table_code(codes, 3));
}

}  // namespace
}  // namespace fptq
