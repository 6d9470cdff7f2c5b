// The tables of values that 4-bit codes of NF4 and FP4, and the 8-bit codes of their constants,
// stand for.
//
// Source: bitsandbytes 0.50, functional.py (get_4bit_type, create_dynamic_map); NF4 is from
// Dettmers et al., "QLoRA", arXiv:2305.14314 (2023).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "numeric/scheme.h"

namespace fptq {

inline constexpr std::size_t kTableEntries = 16;
inline constexpr std::size_t kDynamicMapEntries = 256;
// Constants that share one constant where the constants are quantized themselves.
inline constexpr std::size_t kNestedBlockSize = 256;

// "nf4", "fp4"; "int" for CodeType::kInt.
[[nodiscard]] std::string_view code_type_name(CodeType type);

// What the codes 0 to 15 stand for, between -1 and 1.
//   kNf4  quantiles of a normal distribution, ascending; code 7 is 0
//   kFp4  sign, 2 bits of exponent, 1 of mantissa, in units of 1 / 12; code 8 is 0 too
// type: not kInt.
[[nodiscard]] std::span<const float, kTableEntries> code_table(CodeType type);

// What the 8-bit codes of quantized constants stand for, ascending: 0, 1, and of either sign for
// i = 0 to 6 the 2^i middles between 2^i + 1 equidistant points of [0.1, 1], times 10^(i - 6).
// Code 127 is 0; the range is not symmetric, -1 is missing.
[[nodiscard]] std::span<const float, kDynamicMapEntries> dynamic_map();

// Whether bitsandbytes has blocks of that many weights: powers of two from 32 to 4096.
[[nodiscard]] constexpr bool is_table_block_size(std::size_t size) {
  return size >= 32 && size <= 4096 && (size & (size - 1)) == 0;
}

// Weights in blocks of a table. Where `double_quantized`, the blocks' constants are 8-bit codes.
[[nodiscard]] QuantArgs table_weights(CodeType type, std::size_t block_size, bool double_quantized);

// Code of weight `index` of a tensor, whose codes lie two in a byte, the first in the high bits.
[[nodiscard]] inline std::uint8_t table_code(const std::uint8_t* codes, std::size_t index) {
  const unsigned byte = codes[index / 2];
  return static_cast<std::uint8_t>(index % 2 == 0 ? byte >> 4 : byte & 0xFU);
}

// What 8-bit codes of constants stand for: map[codes[i]] * absmax[i / kNestedBlockSize] + offset,
// product and sum rounded to float32.
//   codes   [n]
//   absmax  [ceil(n / kNestedBlockSize)]
[[nodiscard]] std::vector<float> restore_constants(std::span<const std::uint8_t> codes,
                                                   std::span<const float> absmax,
                                                   std::span<const float, kDynamicMapEntries> map,
                                                   float offset);

}  // namespace fptq
