// From a row's range to its grid: the few float operations that every variant shares.

#pragma once

#include "kernels/quantize_activations/contract.h"

namespace fptq::kernels {
namespace {

// Everything that a row's codes depend on: q = clamp(rint(x * inverse) + zero_point).
struct RowGrid {
  float scale;
  float inverse;  // 0: the row's codes are all 0
  std::int32_t zero_point;
  std::int32_t lowest;  // of the codes; the highest is 127
};

// absmax_bits: the largest bit pattern of |x|, NaN and infinity included; smallest <= 0 and
// largest >= 0: the row's range, widened to contain 0. Meaningless where not finite.
// They are not read where the grid is static (absmax_bits is).
inline RowGrid row_grid(const ActivationGrid& grid, std::uint32_t absmax_bits, float smallest,
                        float largest) {
  constexpr std::uint32_t kInfinityBits = 0x7F800000U;
  const RowGrid damaged{__builtin_nanf(""), 0.0f, 0, -128};
  if (absmax_bits >= kInfinityBits) return damaged;
  const std::int32_t lowest = grid.symmetric ? -127 : -128;
  if (!grid.dynamic) {
    return RowGrid{grid.static_scale, 1.0f / grid.static_scale, grid.static_zero_point, lowest};
  }
  const float absmax = -smallest > largest ? -smallest : largest;
  if (absmax < kTinyActivationRow) return RowGrid{kEmptyRowScale, 0.0f, 0, lowest};
  if (grid.symmetric) return RowGrid{absmax / 127.0f, 127.0f / absmax, 0, lowest};
  const float range = largest - smallest;
  if (__builtin_isinf(range)) return damaged;
  const float inverse = 255.0f / range;
  float zero_point = __builtin_nearbyintf(-128.0f - smallest * inverse);
  zero_point = zero_point < -128.0f ? -128.0f : zero_point;
  zero_point = zero_point > 127.0f ? 127.0f : zero_point;
  return RowGrid{range / 255.0f, inverse, static_cast<std::int32_t>(zero_point), lowest};
}

}  // namespace
}  // namespace fptq::kernels
