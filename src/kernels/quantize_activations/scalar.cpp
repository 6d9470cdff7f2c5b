// Reference implementation. Every other variant must match it bit for bit.

#include <cstring>

#include "kernels/quantize_activations/contract.h"
#include "kernels/quantize_activations/row_grid.h"

namespace fptq::kernels {
namespace {

RowGrid scan_row(const ActivationGrid& grid, const float* x, std::size_t cols) {
  std::uint32_t absmax_bits = 0;
  float smallest = 0.0f;
  float largest = 0.0f;
  for (std::size_t k = 0; k < cols; ++k) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x[k], sizeof(bits));
    bits &= 0x7FFFFFFFU;
    absmax_bits = bits > absmax_bits ? bits : absmax_bits;
    smallest = x[k] < smallest ? x[k] : smallest;
    largest = x[k] > largest ? x[k] : largest;
  }
  return row_grid(grid, absmax_bits, smallest, largest);
}

std::int8_t quantize(float x, const RowGrid& grid) {
  float code = __builtin_nearbyintf(x * grid.inverse) + static_cast<float>(grid.zero_point);
  code = code < static_cast<float>(grid.lowest) ? static_cast<float>(grid.lowest) : code;
  code = code > 127.0f ? 127.0f : code;
  return static_cast<std::int8_t>(code);
}

}  // namespace

void quantize_activations_scalar(const QuantizeActivationsArgs& args) {
  const std::size_t slabs = slab_count(args.cols);
  for (std::size_t m = 0; m < args.rows; ++m) {
    const float* x = args.x + m * args.cols;
    const RowGrid grid = scan_row(args.grid, x, args.cols);
    args.scales[m] = grid.scale;
    args.zero_points[m] = grid.zero_point;
    std::int8_t* codes = args.codes + m * args.stride;
    for (std::size_t k = 0; k < slabs * kSlabCols; ++k) {
      codes[k] = k < args.cols && grid.inverse != 0.0f ? quantize(x[k], grid) : std::int8_t{0};
    }
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      std::int32_t sums[2] = {};
      for (std::size_t k = 0; k < kSlabCols; ++k) sums[k % 4 / 2] += codes[slab * kSlabCols + k];
      std::int16_t* out = args.pair_sums + (m * slabs + slab) * 2;
      out[0] = static_cast<std::int16_t>(sums[0]);
      out[1] = static_cast<std::int16_t>(sums[1]);
    }
  }
}

}  // namespace fptq::kernels
