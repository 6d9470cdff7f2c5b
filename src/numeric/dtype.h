// Element types of tensors, and the two 16-bit floating-point formats.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fptq {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
};

// Bytes of one element.
[[nodiscard]] std::size_t dtype_bytes(DType dtype);

// The name that safetensors uses: "F32", "BF16", "I8", "BOOL".
[[nodiscard]] std::string_view dtype_name(DType dtype);

// The type that safetensors calls `name`, or nothing.
[[nodiscard]] std::optional<DType> parse_dtype(std::string_view name);

// The types a float weight is stored in: F32, F16, BF16.
[[nodiscard]] bool is_float_weight_dtype(DType dtype);

// bfloat16 is the upper half of a float32; widening is exact.
[[nodiscard]] inline float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Rounds to nearest, ties to even; overflow gives infinity, a NaN stays a (quiet) NaN.
[[nodiscard]] std::uint16_t f32_to_bf16(float value);

// IEEE 754 binary16. Widening is exact, subnormals included.
[[nodiscard]] float f16_to_f32(std::uint16_t bits);

// Rounds to nearest, ties to even, subnormals included; overflow gives infinity, a NaN stays one.
[[nodiscard]] std::uint16_t f32_to_f16(float value);

}  // namespace fptq
