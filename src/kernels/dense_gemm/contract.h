// Matrix product with weights as the checkpoint stores them: the float baseline.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"

namespace fptq::kernels {

// Floats of scratch memory that one call needs (160 KiB).
inline constexpr std::size_t kDenseGemmScratchFloats = 40960;

// y[i, j] = sum_k x[i, k] * w[j, k], that is [m, k] x [n, k]^T = [m, n].
//
// Bits: 16 partial sums, lane l over k = l mod 16 in ascending order with fma, k padded with
// zeros to a multiple of 16; then the lanes are added pairwise, distance 8, 4, 2, 1. So y[i, j]
// depends on row i of x and row j of w only, and not on m, n or the ISA. (NaNs: which one is
// unspecified.) For a part of the output channels give w, y and n of that part.
struct DenseGemmArgs {
  const float* x;        // [m, k], rows x_stride elements apart
  std::size_t x_stride;  // >= k
  const void* w;         // [n, k] of w_type at any address, rows w_stride elements apart
  std::size_t w_stride;  // >= k
  ElementType w_type;    // kF32, kBF16 or kF16
  float* y;              // [m, n] out, rows y_stride elements apart; overlaps nothing else
  std::size_t y_stride;  // >= n
  std::size_t m;         // tokens, any
  std::size_t n;         // output channels, any
  std::size_t k;         // >= 1
  float* scratch;        // [kDenseGemmScratchFloats], of this call alone; contents undefined
};

using DenseGemmFn = void (*)(const DenseGemmArgs&);

#define FPTQ_DENSE_GEMM(isa, symbol) void symbol(const DenseGemmArgs& args);
#include "kernels/dense_gemm/variants.inc"
#undef FPTQ_DENSE_GEMM

}  // namespace fptq::kernels
