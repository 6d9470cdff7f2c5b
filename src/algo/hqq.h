// Half-quadratic quantization: grids for asymmetric weights without calibration data.

#pragma once

#include <span>

#include "algo/rounding.h"
#include "base/thread_pool.h"
#include "numeric/dtype.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

// An asymmetric grid that makes  sum_k |x_k - deq_k|^p  small, p = 0.7: few large errors are
// forgiven, so that outliers do not widen the grid of all others.
//
//   values  [n]  x, finite
// From minmax_grid(), 20 times, with beta = 10 growing by 1.01:
//   r = x - (q - z) s,  e = sign(r) max(0, |r| - |r|^(p - 1) / beta),
//   z = mean(q - (x - e) / s)
// as published, where zero points are floats. Zero points are integers here, so that they can not
// follow closely: z is rounded into the range of the codes, and the scale adapts in the same way,
//   s = sum (x - e)(q - z) / sum (q - z)^2.
// The best of all grids seen is returned, with its scale rounded to scale_dtype.
// Source: Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023).
[[nodiscard]] Grid hqq_grid(std::span<const float> values, int num_bits, DType scale_dtype);

// The method "hqq" for one row: nearest codes on these grids.
//   weights  [cols], finite
//   matrix   row `row` out; from make_quantized_matrix(), asymmetric
// Thread safety: different rows may be rounded at the same time.
RoundingError round_row_by_hqq(std::span<const float> weights, std::size_t row,
                               QuantizedMatrix& matrix);

// All rows.
//   weights  [rows, cols], finite
//   matrix   out, from make_quantized_matrix(), asymmetric
RoundingError round_rows_by_hqq(std::span<const float> weights, ThreadPool& pool,
                                QuantizedMatrix& matrix);

}  // namespace fptq::algo
