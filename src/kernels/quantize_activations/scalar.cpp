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

void write_slab(const float* x, std::size_t k, std::size_t cols, const RowGrid& grid,
                std::int8_t* codes, std::int16_t* sums) {
  std::int32_t wide_sums[2] = {};
  for (std::size_t i = 0; i < kSlabCols; ++i) {
    codes[i] = k + i < cols ? quantize(x[k + i], grid) : std::int8_t{0};
    wide_sums[i % 4 / 2] += codes[i];
  }
  sums[0] = static_cast<std::int16_t>(wide_sums[0]);
  sums[1] = static_cast<std::int16_t>(wide_sums[1]);
}

}  // namespace

void quantize_activations_scalar(const QuantizeActivationsArgs& args) {
  quantize_rows(args, scan_row, write_slab);
}

}  // namespace fptq::kernels
