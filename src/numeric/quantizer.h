// The obvious scalar quantizer: the definition that every faster one is held against.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "numeric/dtype.h"
#include "numeric/scheme.h"

namespace fptq {

// The grid of one group of integers: x is represented by (q - zero_point) * scale with
// q in [-2^(b-1), 2^(b-1) - 1]. zero_point is in the same range, 0 for a symmetric grid.
struct Grid {
  float scale;
  std::int32_t zero_point;
};

// Smallest and largest code of a `num_bits` integer: -8 and 7 for 4 bits.
[[nodiscard]] constexpr std::int32_t lowest_code(int num_bits) {
  return -(1 << (num_bits - 1));
}
[[nodiscard]] constexpr std::int32_t highest_code(int num_bits) {
  return (1 << (num_bits - 1)) - 1;
}

// The scale of a group without any range (all zeros): float32's epsilon, which float16 and
// bfloat16 hold exactly. Codes are then equal to the zero point and the values exactly 0.
inline constexpr float kEmptyScale = 0x1.0p-23f;

// A scale as it is stored: rounded to scale_dtype, F32, F16 or BF16, clipped to the largest finite
// numbers of that type, and kEmptyScale in place of 0.
[[nodiscard]] float stored_scale(float exact, DType scale_dtype);

// The grid that covers the group's range, rounded to the type that scales are stored in.
//
//   values       [n]   finite
//   symmetric          scale = max|x| / (2^b - 1) * 2: max|x| / 7.5 for 4 bits, / 127.5 for 8
//   asymmetric         the range is widened to contain 0: scale = (max - min) / (2^b - 1),
//                      zero_point = round(-2^(b-1) - min / scale), ties to even, clamped
//   scale_dtype        F32, F16 or BF16. A scale that rounds to 0 becomes kEmptyScale.
//
// Source: compressed-tensors 0.20, calculate_qparams.
[[nodiscard]] Grid minmax_grid(std::span<const float> values, int num_bits, bool symmetric,
                               DType scale_dtype);

// round(x / scale + zero_point), ties to even, clamped to the codes of num_bits.
[[nodiscard]] std::int32_t quantize_value(float x, const Grid& grid, int num_bits);

// (q - zero_point) * scale, one rounding.
[[nodiscard]] inline float dequantize_value(std::int32_t code, const Grid& grid) {
  return static_cast<float>(code - grid.zero_point) * grid.scale;
}

// A rounded matrix, one byte per code, as the algorithms produce it.
struct QuantizedMatrix {
  std::size_t rows = 0;
  std::size_t cols = 0;
  QuantArgs args;                        // kInt; strategy kChannel, kGroup or kTensor
  DType scale_dtype = DType::kF32;       // every scale is representable in it
  std::vector<std::int8_t> codes;        // [rows, cols]
  std::vector<float> scales;             // [rows, groups]
  std::vector<std::int8_t> zero_points;  // [rows, groups]; empty where symmetric

  // Groups of a row: ceil(cols / group_size), 1 for a per-channel scale. The last may be shorter.
  [[nodiscard]] std::size_t groups() const;
  // Inputs that share a scale: group_size, or cols for a per-channel scale.
  [[nodiscard]] std::size_t group_width() const;
  [[nodiscard]] Grid grid(std::size_t row, std::size_t group) const;
};

// Rounds every weight to the nearest code of its group's minmax_grid().
//   weights  [rows, cols], finite
// args: integer weights per channel or group. kTensor is not offered for weights.
[[nodiscard]] QuantizedMatrix round_to_nearest(std::span<const float> weights, std::size_t rows,
                                               std::size_t cols, const QuantArgs& args,
                                               DType scale_dtype);

// [rows, cols] float32: (q - zero_point) * scale.
[[nodiscard]] std::vector<float> dequantize(const QuantizedMatrix& matrix);

// An 8-bit activation row: x is represented by (q - zero_point) * scale.
struct QuantizedRow {
  float scale;
  std::int32_t zero_point;
  std::vector<std::int8_t> codes;
};

// Rows whose largest magnitude is below this are quantized as zeros: 1 / scale would overflow.
inline constexpr float kTinyActivation = 0x1.0p-100f;

// Quantizes one token's activations with a range taken from the row.
//   symmetric    scale = max|x| / 127, q = rint(x * (127 / max|x|)) in [-127, 127]: -128 never
//                appears
//   asymmetric   the range is widened to contain 0: scale = (max - min) / 255,
//                zero_point = clamp(rint(-128 - min * (255 / (max - min)))),
//                q = clamp(rint(x * (255 / (max - min))) + zero_point) to [-128, 127]
// Every step is one float32 operation, rounded to nearest, ties to even.
// A row of zeros (below kTinyActivation) gets scale kEmptyScale, zero point 0 and codes 0. A row
// with a NaN or an infinity gets a NaN scale and codes 0, so that the damage stays visible.
[[nodiscard]] QuantizedRow quantize_row_dynamic(std::span<const float> row, bool symmetric);

// The scale of a fixed symmetric grid for |x| up to absmax: absmax / 127, and kEmptyScale where
// that or its inverse is no normal number.
[[nodiscard]] float static_symmetric_scale(float absmax);

// The same with a fixed grid: q = clamp(rint(x * (1 / scale)) + zero_point), to [-127, 127] where
// symmetric, else to [-128, 127].
[[nodiscard]] QuantizedRow quantize_row_static(std::span<const float> row, const Grid& grid,
                                               bool symmetric);

}  // namespace fptq
