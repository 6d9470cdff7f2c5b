// What every variant shares: the few float operations from a row's range to its grid, and the walk
// over rows and slabs. Templates in an anonymous namespace, so that each variant has its own copy.

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

// Fills the outputs of every row.
//   scan_row(grid, x, cols)    returns the RowGrid of the row x [cols]
//   write_slab(x, k, cols, row_grid, codes, sums)
//                              writes the codes [kSlabCols] of the inputs from k on, zeros past
//                              cols, and their pair sums [2]
template <typename ScanRow, typename WriteSlab>
void quantize_rows(const QuantizeActivationsArgs& args, const ScanRow& scan_row,
                   const WriteSlab& write_slab) {
  const std::size_t slabs = slab_count(args.cols);
  for (std::size_t m = 0; m < args.rows; ++m) {
    const float* x = args.x + m * args.cols;
    const RowGrid grid = scan_row(args.grid, x, args.cols);
    args.scales[m] = grid.scale;
    args.zero_points[m] = grid.zero_point;
    std::int8_t* codes = args.codes + m * args.stride;
    std::int16_t* sums = args.pair_sums + m * slabs * 2;
    if (grid.inverse == 0.0f) {
      __builtin_memset(codes, 0, slabs * kSlabCols);
      __builtin_memset(sums, 0, slabs * 2 * sizeof(std::int16_t));
      continue;
    }
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      const std::size_t k = slab * kSlabCols;
      write_slab(x, k, args.cols, grid, codes + k, sums + slab * 2);
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
