// Matrix product in double, subtracted from a matrix: what triangular factorizations consist of.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// Doubles of scratch memory that one call needs (48 KiB).
inline constexpr std::size_t kDoubleGemmScratchDoubles = 6152;

// c[i, j] -= sum_k a[i, k] * b[k, j], that is [m, n] -= [m, k] x [k, n].
//
// Bits: c[i, j] = fma(-a[i, k], b[k, j], c[i, j]) for k in ascending order. So the result depends
// neither on the ISA nor on how m, n and k are cut into calls. (NaNs: which one is unspecified.)
struct DoubleGemmArgs {
  const double* a;       // [m, k], rows a_stride elements apart
  std::size_t a_stride;  // >= k
  const double* b;       // [k, n], rows b_stride elements apart
  std::size_t b_stride;  // >= n
  double* c;             // [m, n] in, out, rows c_stride elements apart; overlaps nothing else
  std::size_t c_stride;  // >= n
  std::size_t m;         // any
  std::size_t n;         // any
  std::size_t k;         // any
  double* scratch;       // [kDoubleGemmScratchDoubles], of this call alone; contents undefined
};

using DoubleGemmFn = void (*)(const DoubleGemmArgs&);

#define FPTQ_DOUBLE_GEMM(isa, symbol) void symbol(const DoubleGemmArgs& args);
#include "kernels/double_gemm/variants.inc"
#undef FPTQ_DOUBLE_GEMM

}  // namespace fptq::kernels
