// Grids that fit a group's weights best, where minmax_grid() covers their range.

#pragma once

#include <cstddef>
#include <span>

#include "algo/rounding.h"
#include "base/thread_pool.h"
#include "numeric/dtype.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

// The grid that is to be searched.
struct GridForm {
  int num_bits;  // 4 or 8; 2 to 8 work
  bool symmetric;
  DType scale_dtype;  // F32, F16 or BF16
};

// A grid that makes  E = sum_k w_k (x_k - deq_k)^2  small, with deq_k the nearest value on it.
//
//   values      [n]  x, finite
//   importance  [n]  w >= 0, finite; empty or all 0: every weight counts the same
// Symmetric: zero point 0 and a scale of either sign, so that the weight of the largest magnitude
// can lie at the lowest code, -2^(b-1). Candidates 1 / scale = -(2^(b-1) + c) / x_largest for a row
// of c around 0, each followed by the scale that is best for its codes,
// sum w x q / sum w q^2. Asymmetric: both ends of the range move inwards over a grid that gets
// finer; the zero point is an integer among the codes, and the scale again the best for the codes.
// Scales are rounded to scale_dtype before grids are compared, and the grid of minmax_grid() is
// among them: E is never larger than with it, up to the rounding of float32 sums.
// A group without a usable range gets minmax_grid().
// Source: llama.cpp, ggml-quants.c, make_qx_quants and make_qkx2_quants.
[[nodiscard]] Grid search_grid(std::span<const float> values, std::span<const float> importance,
                               const GridForm& form);

// Searches the grids of one row's groups and writes them to row `row` of `matrix`; the codes are
// left alone.
//   weights     [cols]
//   importance  [cols] or empty
void search_row_grids(std::span<const float> weights, std::span<const float> importance,
                      std::size_t row, QuantizedMatrix& matrix);

// The method "search": nearest codes on searched grids, without feedback of errors.
//   weights     [rows, cols]
//   importance  [cols], the diagonal of the Gram matrix, or empty
//   matrix      out, from make_quantized_matrix()
RoundingError round_rows_by_search(std::span<const float> weights,
                                   std::span<const float> importance, ThreadPool& pool,
                                   QuantizedMatrix& matrix);

}  // namespace fptq::algo
