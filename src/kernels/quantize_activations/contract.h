// Activation quantization: float32 rows to 8-bit codes, scale and zero point per row.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {

// How rows are quantized; numeric/quantizer.h defines every bit of the result.
//   dynamic  quantize_row_dynamic(row, symmetric)
//   static   quantize_row_static(row, {static_scale, static_zero_point}, symmetric)
struct ActivationGrid {
  bool symmetric = true;
  bool dynamic = true;
  float static_scale = 0.0f;  // finite, its inverse too; not read where dynamic
  std::int32_t static_zero_point = 0;

  bool operator==(const ActivationGrid&) const = default;
};

struct QuantizeActivationsArgs {
  const float* x;    // [M, K], row-major without gaps
  std::size_t rows;  // M, any
  std::size_t cols;  // K, any
  ActivationGrid grid;
  std::int8_t* codes;         // [M, stride] out; zeros from K to the end of its slab
  std::size_t stride;         // at least K rounded up to kSlabCols
  std::int16_t* pair_sums;    // [M, slabs, 2] out, as in QuantizedActivations
  float* scales;              // [M] out
  std::int32_t* zero_points;  // [M] out
};

using QuantizeActivationsFn = void (*)(const QuantizeActivationsArgs& args);

// Rows whose largest magnitude is below this become zeros, and their scale.
inline constexpr float kTinyActivationRow = 0x1.0p-100f;
inline constexpr float kEmptyRowScale = 0x1.0p-23f;

#define FPTQ_QUANTIZE_ACTIVATIONS(isa, symbol) void symbol(const QuantizeActivationsArgs& args);
#include "kernels/quantize_activations/variants.inc"
#undef FPTQ_QUANTIZE_ACTIVATIONS

}  // namespace fptq::kernels
