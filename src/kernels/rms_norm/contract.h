// Root-mean-square normalization.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// y[t, d] = (x[t, d] * r[t]) * w[d], where r[t] = 1 / sqrt(sum_d x[t, d]^2 / D + eps).
//
// Bits: the sum runs in 16 lanes, lane = d mod 16, by fma in ascending d; the lanes are added
// pairwise, distance 8, 4, 2, 1. Division and square root are exact to rounding, and every other
// step is one rounded operation. So a row depends on itself and on no ISA. eps > 0 keeps a row of
// zeros finite.
// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467 (2019).
struct RmsNormArgs {
  const float* x;        // [rows, dim], rows x_stride elements apart
  std::size_t x_stride;  // >= dim
  const float* w;        // [dim]
  float* y;              // [rows, dim] out, rows y_stride elements apart; may be x
  std::size_t y_stride;  // >= dim
  std::size_t rows;      // any
  std::size_t dim;       // D >= 1
  float eps;
};

using RmsNormFn = void (*)(const RmsNormArgs&);

#define FPTQ_RMS_NORM(isa, symbol) void symbol(const RmsNormArgs& args);
#include "kernels/rms_norm/variants.inc"
#undef FPTQ_RMS_NORM

}  // namespace fptq::kernels
