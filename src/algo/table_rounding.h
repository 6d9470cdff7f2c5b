// From float weights to codes of a table: NF4 and FP4 as bitsandbytes rounds them, bit for bit.
//
// A tensor is one sequence of weights, row after row, cut into blocks that take no notice of rows.
// A block has one constant, its largest magnitude, and weights are table[code] * constant. Double
// quantization makes 8-bit codes of the constants.
//
// Source: bitsandbytes 0.50, the CPU's code paths (backends/default/ops.py, csrc/cpu_ops.cpp).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "algo/rounding.h"
#include "numeric/scheme.h"

namespace fptq::algo {

// The constant of a block of zeros that is shorter than the others.
inline constexpr float kLeastPartialConstant = 1e-38f;

// absmax[b] = max |values[i]| over block b.
//   values      [n]  finite
//   block_size       one of bitsandbytes' (is_table_block_size)
//   absmax      [ceil(n / block_size)] out; that of a shorter last block is at least
//               kLeastPartialConstant
// A tensor may be handed over in pieces of whole blocks.
void block_constants(std::span<const float> values, std::size_t block_size,
                     std::span<float> absmax);

// Chooses the nearest entries of the table: of two that are equally near, the smaller. A weight's
// position is w * (1 / absmax), in a shorter last block w / absmax, clamped to [-1, 1].
//   values    [n]  finite
//   weights        kNf4 or kFp4 with its block size
//   absmax    [ceil(n / block_size)]  block_constants() of the values
//   restored  the same size: the constants that weights will be restored with; absmax itself, or
//             what double quantization made of it. They do not change the codes.
//   codes     [ceil(n / 2)] out: two to a byte, the first in the high bits; behind an odd number
//             of weights the code of 0
//   returns   the error against table[code] * restored
// A block of zeros gets codes of 0.
RoundingError round_to_table(std::span<const float> values, const QuantArgs& weights,
                             std::span<const float> absmax, std::span<const float> restored,
                             std::span<std::uint8_t> codes);

// Constants of a tensor as 8-bit codes of dynamic_map(): the offset is taken away, and what is
// left is rounded in blocks of kNestedBlockSize, each divided by its largest magnitude.
struct QuantizedConstants {
  std::vector<std::uint8_t> codes;  // [n]
  std::vector<float> absmax;        // [ceil(n / kNestedBlockSize)]
  float offset = 0;                 // the mean of the constants
};

// Quantizes all constants of a tensor.
//   constants  [n]  finite, >= 0
// The offset is the mean rounded once to float32; torch adds in float32 in an order that depends
// on the machine and may differ in the last bit. Positions x in [-1, 1] are rounded to the nearest
// of 65536 equidistant points and these to the nearest entry, the smaller of two equally near:
// bitsandbytes looks codes up in a table of that size.
[[nodiscard]] QuantizedConstants quantize_constants(std::span<const float> constants);

// The constants as they will be restored (numeric/code_table.h): [n].
[[nodiscard]] std::vector<float> restored(const QuantizedConstants& constants);

}  // namespace fptq::algo
