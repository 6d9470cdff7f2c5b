// What the integer matrix products share: the packed layouts of both operands, and the result.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"

namespace fptq::kernels {

// Weights are packed in blocks of 16 output channels, so that vector lanes are channels and no
// sum crosses lanes. A block is a row of slabs of 32 inputs; a slab is made of quads, 64 bytes
// that hold 4 consecutive inputs of each of the 16 channels: byte 4 * c + i is channel c, input i.
//
//   4 bits  256 bytes a slab: quad j (0..3) has inputs 4j .. 4j+3 in the low nibbles and
//           16+4j .. 16+4j+3 in the high ones; a nibble is code + 8
//   8 bits  512 bytes a slab: quad j (0..7) has inputs 4j .. 4j+3; a byte is code + 128
//
// Past the last input and the last channel a code equals its zero point: it adds nothing.
//
// A block's 4-bit codes do not follow each other without a gap: some groups at a time they are
// preceded by those groups' scales and zero points, so that reading a block is reading one stream.
// Such a record is RecordLayout's. 8-bit codes of a block are one record: the tiles multiply them
// where they lie.
inline constexpr std::size_t kBlockRows = 16;
inline constexpr std::size_t kSlabCols = 32;
inline constexpr std::size_t kQuadBytes = 64;
inline constexpr std::size_t kSlabBytes4 = 256;
inline constexpr std::size_t kSlabBytes8 = 512;
inline constexpr std::int32_t kBias4 = 8;    // a stored nibble minus its code
inline constexpr std::int32_t kBias8 = 128;  // a stored byte minus its code

// Where the parts of a record lie, and the records of a matrix. A record begins with its scales
// [groups, 16], then come its zero points, and from header_bytes on its slabs. The last record of
// a block may have fewer groups; it has room for all their scales. Blocks and records begin on a
// cache line.
struct RecordLayout {
  std::size_t groups;        // of a record
  std::size_t slabs;         // of a record
  std::size_t slab_bytes;    // kSlabBytes4 or kSlabBytes8
  std::size_t scale_bytes;   // of a group's scales
  std::size_t zero_bytes;    // of a group's zero points; 0: every zero point is 0
  std::size_t header_bytes;  // scales, zero points, padding
  std::size_t record_bytes;  // from a record to the next one of its block
  std::size_t block_bytes;   // from a block to the next one
};

// A packed weight matrix [N, K]: w[n, k] = (code[n, k] - zero[n, g]) * scale[n, g], g = k / width.
struct PackedWeights {
  // Of the first record; slab_codes(), group_scales() and group_zeros() of records.h find the rest.
  const std::uint8_t* codes;  // 64-byte aligned
  const void* scales;         // of scale_type, 32-byte aligned
  // Biased as the codes are; null: every zero point is 0.
  //   4 bits  8 bytes a group: channels c (low nibble) and c + 8 (high nibble)
  //   8 bits  16 bytes a group
  const std::uint8_t* zeros;
  RecordLayout records;
  ElementType scale_type;   // kF32, kF16 or kBF16
  std::size_t rows;         // N, any
  std::size_t cols;         // K, any
  std::size_t group_width;  // inputs that share a scale, the last group may have fewer
};

// Activations [M, K] as 8-bit codes: x[m, k] = (code[m, k] - zero_point[m]) * scale[m].
struct QuantizedActivations {
  const std::int8_t* codes;  // [M, stride], 64-byte aligned; 0 from K to the end of its slab
  // [M, slabs, 2]: per slab the sum of the codes with k % 4 < 2, and of the others. Two, because
  // a 16-bit lane of the AVX2 kernel sees every other pair.
  const std::int16_t* pair_sums;
  const float* scales;              // [M]
  const std::int32_t* zero_points;  // [M]; null: all 0
  std::size_t rows;                 // M, any
  std::size_t stride;               // bytes from row to row, a multiple of 64
};

// y[m, n] = x_scale[m] * sum_g w_scale[n, g] * d[m, n, g] + bias[n], where
// d[m, n, g] = sum_{k in g} (w_code - w_zero) * (x_code - x_zero) is an exact int32.
//
// Every variant computes the same bits: a = 0; for g ascending: a = fma(float(d), w_scale, a);
// y = a * x_scale; and where there is a bias y = y + bias. The caller sees to it that d cannot
// overflow (PackedMatrix checks).
struct IntegerGemmArgs {
  PackedWeights w;
  QuantizedActivations x;
  const float* bias;        // [N] or null
  float* y;                 // [M, y_stride]; columns of the blocks below are written, no others
  std::size_t y_stride;     // elements from row to row, at least N
  std::size_t block_begin;  // blocks of 16 channels to compute: [block_begin, block_end)
  std::size_t block_end;
};

using IntegerGemmFn = void (*)(const IntegerGemmArgs& args);

constexpr std::size_t ceil_div(std::size_t a, std::size_t b) {
  return a / b + (a % b != 0);
}
constexpr std::size_t block_count(std::size_t rows) {
  return ceil_div(rows, kBlockRows);
}
constexpr std::size_t slab_count(std::size_t cols) {
  return ceil_div(cols, kSlabCols);
}

// Whether every slab belongs to one group. Only the scalar variants handle other matrices.
constexpr bool groups_are_whole_slabs(std::size_t cols, std::size_t group_width) {
  return group_width >= cols || group_width % kSlabCols == 0;
}

}  // namespace fptq::kernels
