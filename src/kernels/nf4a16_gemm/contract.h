// Matrix product with weights of 4 bits that stand for entries of a table: NF4, FP4.

#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {

// Floats of scratch memory that one call needs (160 KiB).
inline constexpr std::size_t kNf4a16GemmScratchFloats = 40960;

// y[i, j] = sum_k x[i, k] * w[row_begin + j, k], that is [m, k] x [n, k]^T = [m, n], where
// w[r, k'] = table[code e] * absmax[e / block_size], rounded to float32, with e = r * k + k'.
//
// Codes lie as bitsandbytes stores them, two in a byte, e even in the high bits; blocks take no
// notice of rows. Rows whose width is a multiple of 16 are multiplied as they are stored, others
// are unpacked one weight at a time.
//
// Bits: those of dense_gemm with the weights w as float32 (dense_gemm/contract.h), whatever m, n
// and the ISA.
struct Nf4a16GemmArgs {
  const float* x;             // [m, k], rows x_stride elements apart
  std::size_t x_stride;       // >= k
  const std::uint8_t* codes;  // [ceil(N * k / 2)] of the whole matrix [N, k], at any address
  const float* absmax;        // [ceil(N * k / block_size)]
  const float* table;         // [16]
  std::size_t block_size;     // a power of two, >= 32
  std::size_t row_begin;      // the first of n rows of the matrix
  float* y;                   // [m, n] out, rows y_stride elements apart; overlaps nothing else
  std::size_t y_stride;       // >= n
  std::size_t m;              // tokens, any
  std::size_t n;              // output channels, any
  std::size_t k;              // >= 1
  float* scratch;             // [kNf4a16GemmScratchFloats], of this call alone; contents undefined
};

using Nf4a16GemmFn = void (*)(const Nf4a16GemmArgs&);

#define FPTQ_NF4A16_GEMM(isa, symbol) void symbol(const Nf4a16GemmArgs& args);
#include "kernels/nf4a16_gemm/variants.inc"
#undef FPTQ_NF4A16_GEMM

}  // namespace fptq::kernels
