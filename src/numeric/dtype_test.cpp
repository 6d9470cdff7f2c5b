#include "numeric/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fptq {
namespace {

TEST(DType, NamesAreThoseOfSafetensorsAndReadBack) {
  for (const auto& [dtype, name, bytes] :
       {std::tuple{DType::kF32, "F32", 4U}, std::tuple{DType::kBF16, "BF16", 2U},
        std::tuple{DType::kI64, "I64", 8U}, std::tuple{DType::kBool, "BOOL", 1U}}) {
    EXPECT_EQ(name, dtype_name(dtype));
    EXPECT_EQ(bytes, dtype_bytes(dtype));
    EXPECT_EQ(dtype, parse_dtype(name));
  }
  EXPECT_FALSE(parse_dtype("F8_E4M3"));
}

TEST(Bf16, EveryBitPatternSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float wide = bf16_to_f32(static_cast<std::uint16_t>(bits));
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(wide))));
    } else {
      EXPECT_EQ(bits, f32_to_bf16(wide));
    }
  }
}

TEST(Bf16, RoundsHalfToEven) {
  EXPECT_EQ(0x3F80, f32_to_bf16(std::bit_cast<float>(0x3F808000U)));
  EXPECT_EQ(0x3F82, f32_to_bf16(std::bit_cast<float>(0x3F818000U)));
  EXPECT_EQ(0x3F81, f32_to_bf16(std::bit_cast<float>(0x3F808001U)));
  EXPECT_EQ(0x7F80, f32_to_bf16(std::numeric_limits<float>::max()));
}

TEST(F16, EveryBitPatternSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float wide = f16_to_f32(static_cast<std::uint16_t>(bits));
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(wide))));
    } else {
      EXPECT_EQ(bits, f32_to_f16(wide)) << wide;
    }
  }
}

TEST(F16, RoundsHalfToEvenAcrossTheWholeRange) {
  // The middle of two neighbours goes to the even one; a little more goes up.
  for (std::uint32_t bits = 0; bits < 0x7BFF; ++bits) {
    const double low = f16_to_f32(static_cast<std::uint16_t>(bits));
    const double high = f16_to_f32(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    EXPECT_EQ(bits + (bits & 1U), f32_to_f16(middle)) << middle;
    EXPECT_EQ(bits + 1, f32_to_f16(std::nextafter(middle, 1e9f))) << middle;
  }
  EXPECT_EQ(0x7BFF, f32_to_f16(65519.99f));
  EXPECT_EQ(0x7C00, f32_to_f16(65520.0f));
}

}  // namespace
}  // namespace fptq
