#include "io/ggml_types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "io/npy.h"
#include "support/test_data.h"

namespace fptq::io {
namespace {

constexpr std::uint16_t kHalfOne = 0x3C00;  // 1.0 in float16
constexpr std::uint16_t kHalfTwo = 0x4000;

std::vector<float> dequantize(GgmlType type, const std::string& block) {
  EXPECT_EQ(ggml_type_info(type).block_bytes, block.size());
  std::vector<float> values(ggml_type_info(type).block_elements);
  dequantize_ggml_blocks(type, reinterpret_cast<const std::byte*>(block.data()), 1, values.data());
  return values;
}

std::string half(std::uint16_t bits) {
  return {static_cast<char>(bits & 0xFF), static_cast<char>(bits >> 8)};
}

TEST(GgmlTypes, Q40TakesLowHalvesFirstAndSubtractsEight) {
  const auto values = dequantize(GgmlType::kQ40, half(kHalfTwo) + "\xF0" + std::string(15, '\x88'));
  EXPECT_EQ(-16.0f, values[0]);
  EXPECT_EQ(0.0f, values[1]);
  EXPECT_EQ(14.0f, values[16]);
}

TEST(GgmlTypes, Q50TakesTheFifthBitFromItsOwnWord) {
  const std::string high = {'\x01', '\0', '\0', '\x80'};  // of elements 0 and 31
  const auto values = dequantize(GgmlType::kQ50, half(kHalfOne) + high + std::string(16, '\0'));
  EXPECT_EQ(0.0f, values[0]);
  EXPECT_EQ(-16.0f, values[1]);
  EXPECT_EQ(0.0f, values[31]);
}

TEST(GgmlTypes, Q41AndQ51CountUpFromTheMinimum) {
  const std::string grid = half(kHalfTwo) + half(kHalfOne);
  const std::string codes = "\xF3" + std::string(15, '\0');
  const auto q41 = dequantize(GgmlType::kQ41, grid + codes);
  EXPECT_EQ(7.0f, q41[0]);  // 3 * 2 + 1
  EXPECT_EQ(1.0f, q41[1]);
  EXPECT_EQ(31.0f, q41[16]);  // 15 * 2 + 1
  EXPECT_EQ(1.0f, q41[31]);

  const std::string high = {'\x01', '\0', '\0', '\x80'};  // of elements 0 and 31
  const auto q51 = dequantize(GgmlType::kQ51, grid + high + codes);
  EXPECT_EQ(39.0f, q51[0]);  // (3 + 16) * 2 + 1
  EXPECT_EQ(1.0f, q51[1]);
  EXPECT_EQ(31.0f, q51[16]);
  EXPECT_EQ(33.0f, q51[31]);  // 16 * 2 + 1
}

TEST(GgmlTypes, Q80IsAScaledByte) {
  const auto values =
      dequantize(GgmlType::kQ80, half(kHalfTwo) + "\x80\x7F" + std::string(30, '\1'));
  EXPECT_EQ(-256.0f, values[0]);
  EXPECT_EQ(254.0f, values[1]);
  EXPECT_EQ(2.0f, values[31]);
}

TEST(GgmlTypes, KnowsNamesOfTypesThatItDoesNotRead) {
  EXPECT_EQ("Q4_K", ggml_type_name(12));
  EXPECT_EQ("MXFP4", ggml_type_name(39));
  EXPECT_EQ(nullptr, find_ggml_type(39));
  EXPECT_EQ(std::nullopt, ggml_type_name(4));
}

// Distance of two floats of the same sign in units of the last place.
std::int64_t ulps(float a, float b) {
  return std::abs(std::int64_t{std::bit_cast<std::int32_t>(a)} -
                  std::int64_t{std::bit_cast<std::int32_t>(b)});
}

TEST(GgmlTypesGolden, GivesTheValuesOfGgufPy) {
  FPTQ_REQUIRE_TEST_DATA("golden/formats/gguf/blocks");
  const auto directory = testing::test_data_dir() / "golden/formats/gguf";
  std::size_t types = 0;
  for (std::uint32_t number = 0; number < 64; ++number) {
    const GgmlTypeInfo* info = find_ggml_type(number);
    if (info == nullptr || info->block_elements == 1) continue;
    for (const std::string folder : {"blocks/", "quantize/"}) {
      const auto stem = directory / (folder + std::string(info->name));
      if (!std::filesystem::exists(stem.string() + ".raw.npy")) continue;
      const auto raw = read_npy(stem.string() + ".raw.npy");
      const auto expected = read_npy(stem.string() + ".f32.npy");
      ASSERT_TRUE(raw && expected) << info->name;
      std::vector<float> values(expected->elements());
      ASSERT_EQ(values.size() / info->block_elements * info->block_bytes, raw->bytes().size());
      dequantize_ggml_blocks(info->type, raw->bytes().data(), values.size() / info->block_elements,
                             values.data());
      const std::vector<float> wanted = expected->to_f32();
      for (std::size_t i = 0; i < values.size(); ++i) {
        // 0 and -0 compare equal.
        if (values[i] == wanted[i]) continue;
        ASSERT_LE(ulps(values[i], wanted[i]), 1) << info->name << " element " << i << ": expected "
                                                 << wanted[i] << ", got " << values[i];
      }
      ++types;
    }
  }
  EXPECT_EQ(12U + 5U, types);
}

}  // namespace
}  // namespace fptq::io
