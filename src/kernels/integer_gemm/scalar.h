// The integer matrix product as its definition reads; shared by the scalar variants.

#pragma once

#include <cstring>

#include "kernels/integer_gemm/layout.h"
#include "kernels/integer_gemm/records.h"

namespace fptq::kernels {

// A stored scale widened to float32, exactly.
inline float load_scale(const void* scales, ElementType type, std::size_t index) {
  if (type == ElementType::kF32) return static_cast<const float*>(scales)[index];
  const std::uint32_t bits = static_cast<const std::uint16_t*>(scales)[index];
  std::uint32_t wide = bits << 16;
  if (type == ElementType::kF16) {
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    const std::uint32_t exponent = bits >> 10 & 0x1FU;
    const std::uint32_t mantissa = bits & 0x3FFU;
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
      const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;
      return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t wide_exponent = exponent == 31 ? 255U : exponent + 112U;
    wide = sign | wide_exponent << 23 | mantissa << 13;
  }
  float value = 0.0f;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// Where code (slab-relative input k, channel c) of a block lies, and how its zero point is read.
struct Codes4 {
  static std::int32_t code(const std::uint8_t* slab, std::size_t k, std::size_t c) {
    const std::uint8_t byte = slab[k % 16 / 4 * kQuadBytes + c * 4 + k % 4];
    return static_cast<std::int32_t>(k < 16 ? byte & 0x0FU : byte >> 4) - kBias4;
  }
  static std::int32_t zero(const std::uint8_t* zeros, std::size_t c) {
    return static_cast<std::int32_t>(c < 8 ? zeros[c] & 0x0FU : zeros[c - 8] >> 4) - kBias4;
  }
};

struct Codes8 {
  static std::int32_t code(const std::uint8_t* slab, std::size_t k, std::size_t c) {
    return static_cast<std::int32_t>(slab[k / 4 * kQuadBytes + c * 4 + k % 4]) - kBias8;
  }
  static std::int32_t zero(const std::uint8_t* zeros, std::size_t c) {
    return static_cast<std::int32_t>(zeros[c]) - kBias8;
  }
};

// Handles any group width. Codes: Codes4 or Codes8.
template <typename Codes>
void integer_gemm_scalar(const IntegerGemmArgs& args) {
  const PackedWeights& w = args.w;
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  for (std::size_t block = args.block_begin; block < args.block_end; ++block) {
    const std::size_t row = block * kBlockRows;
    const std::size_t channels = w.rows - row < kBlockRows ? w.rows - row : kBlockRows;
    for (std::size_t m = 0; m < args.x.rows; ++m) {
      const std::int8_t* x = args.x.codes + m * args.x.stride;
      const std::int32_t x_zero = args.x.zero_points == nullptr ? 0 : args.x.zero_points[m];
      float sums[kBlockRows] = {};
      for (std::size_t g = 0; g < groups; ++g) {
        std::int32_t zeros[kBlockRows] = {};
        if (w.zeros != nullptr) {
          for (std::size_t c = 0; c < kBlockRows; ++c) {
            zeros[c] = Codes::zero(group_zeros(w, block, g), c);
          }
        }
        std::int32_t dots[kBlockRows] = {};
        const std::size_t begin = g * w.group_width;
        const std::size_t end = w.cols - begin < w.group_width ? w.cols : begin + w.group_width;
        for (std::size_t k = begin; k < end; ++k) {
          const std::uint8_t* slab = slab_codes(w, block, k / kSlabCols);
          const std::int32_t xk = x[k] - x_zero;
          for (std::size_t c = 0; c < kBlockRows; ++c) {
            dots[c] += (Codes::code(slab, k % kSlabCols, c) - zeros[c]) * xk;
          }
        }
        for (std::size_t c = 0; c < kBlockRows; ++c) {
          const float scale = load_scale(group_scales(w, block, g), w.scale_type, c);
          sums[c] = __builtin_fmaf(static_cast<float>(dots[c]), scale, sums[c]);
        }
      }
      float* y = args.y + m * args.y_stride + row;
      for (std::size_t c = 0; c < channels; ++c) {
        const float value = sums[c] * args.x.scales[m];
        y[c] = args.bias == nullptr ? value : value + args.bias[row + c];
      }
    }
  }
}

}  // namespace fptq::kernels
