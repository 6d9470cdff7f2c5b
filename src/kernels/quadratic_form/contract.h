// Quadratic forms of many rows under one block of a matrix: what scales of groups are fitted with.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// y[r] = sum_j right[r, j] * (sum_i left[r, i] * h[i, j]).
//
// Bits: t_j = fma(left[r, i], h[i, j], t_j) for i in ascending order, from 0; then 16 partial sums,
// lane l over j = l mod 16 in ascending order with fma(right[r, j], t_j, lane), and the lanes are
// added pairwise, distance 8, 4, 2, 1. So y[r] depends on row r and h only, and not on the ISA.
// (NaNs: which one is unspecified.)
struct QuadraticFormArgs {
  const float* left;         // [rows, depth], rows left_stride elements apart
  std::size_t left_stride;   // >= depth
  const float* h;            // [depth, cols], rows h_stride elements apart
  std::size_t h_stride;      // >= cols
  const float* right;        // [rows, cols], rows right_stride elements apart
  std::size_t right_stride;  // >= cols
  float* y;                  // [rows] out
  std::size_t rows;          // any
  std::size_t depth;         // any
  std::size_t cols;          // any
};

using QuadraticFormFn = void (*)(const QuadraticFormArgs&);

#define FPTQ_QUADRATIC_FORM(isa, symbol) void symbol(const QuadraticFormArgs& args);
#include "kernels/quadratic_form/variants.inc"
#undef FPTQ_QUADRATIC_FORM

}  // namespace fptq::kernels
