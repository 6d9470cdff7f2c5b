// ggml's tensor types: names, block sizes, and the values that blocks stand for.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "numeric/dtype.h"

namespace fptq::io {

// The types that can be read, by their number in a file.
enum class GgmlType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ40 = 2,
  kQ41 = 3,
  kQ50 = 6,
  kQ51 = 7,
  kQ80 = 8,
  kQ2K = 10,
  kQ3K = 11,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kIq4Nl = 20,
  kIq4Xs = 23,
  kBF16 = 30,
};

struct GgmlTypeInfo {
  GgmlType type;
  std::string_view name;  // "Q4_K"
  std::size_t block_elements;
  std::size_t block_bytes;
};

// What is known of the type with that number, or null where it cannot be read.
[[nodiscard]] const GgmlTypeInfo* find_ggml_type(std::uint32_t number);
[[nodiscard]] const GgmlTypeInfo& ggml_type_info(GgmlType type);

// ggml's name of the type with that number, also where it cannot be read; "type 99" is nothing.
[[nodiscard]] std::optional<std::string_view> ggml_type_name(std::uint32_t number);

// What the type's values are read as: F32, F16 and BF16 as they are, blocks as F32.
[[nodiscard]] DType ggml_read_dtype(GgmlType type);

// Values of `blocks` consecutive blocks, in float32 arithmetic as ggml's reference does it.
//
//   type    one of the block types, not F32, F16 or BF16
//   source  blocks * block_bytes bytes, any alignment
//   out     [blocks * block_elements]
//
// Source: ggml-quants.c, the dequantize_row functions; block layouts from ggml-common.h.
void dequantize_ggml_blocks(GgmlType type, const std::byte* source, std::size_t blocks, float* out);

}  // namespace fptq::io
