// Packing and unpacking of one block of 16 output channels, and of single rows of it.

#pragma once

#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {

// What decides about the records of a packed matrix.
struct PackedShape {
  int num_bits;  // 4 or 8
  std::size_t rows;
  std::size_t cols;
  std::size_t group_width;
  ElementType scale_type;
  bool symmetric;  // no zero points
};

// Records of up to 8 groups, as equal as can be; a block is one where weights have 8 bits, groups
// are no whole slabs, or there are no columns.
[[nodiscard]] RecordLayout record_layout(const PackedShape& shape);

// Bytes of a matrix: its blocks.
[[nodiscard]] std::size_t packed_bytes(const PackedShape& shape);

// The matrix that lies at `bytes`, 64-byte aligned.
[[nodiscard]] PackedWeights packed_weights(const PackedShape& shape, const std::uint8_t* bytes);

// One row of a block, as algorithms and checkpoints hold it: a byte per code.
struct UnpackedRow {
  const std::int8_t* codes;        // [cols], in the range of num_bits
  const float* scales;             // [groups], representable in the scale type
  const std::int8_t* zero_points;  // [groups] or null: all 0
};

// Where packed blocks are written.
struct PackedStorage {
  PackedShape shape;
  std::uint8_t* bytes;  // packed_bytes(shape), 64-byte aligned
};

// Writes row `row` of a packed matrix. Rows may be written in any order, but one thread at a
// time may write into a block. The storage was zeroed before the first row.
void pack_row(const PackedStorage& storage, std::size_t row, const UnpackedRow& values);

// Fills the channels of the last block that lie past `rows` so that they add nothing.
void pack_padding(const PackedStorage& storage);

// codes [cols]: row `row` back as one byte per code.
void unpack_row(const PackedWeights& weights, int num_bits, std::size_t row, std::int8_t* codes);

// values [cols]: row `row` as float32, (code - zero) * scale, one rounding each.
void dequantize_row(const PackedWeights& weights, int num_bits, std::size_t row, float* values);

// The scale and the zero point of one group of a row.
[[nodiscard]] float unpack_scale(const PackedWeights& weights, std::size_t row, std::size_t group);
[[nodiscard]] std::int32_t unpack_zero(const PackedWeights& weights, int num_bits, std::size_t row,
                                       std::size_t group);

}  // namespace fptq::kernels
