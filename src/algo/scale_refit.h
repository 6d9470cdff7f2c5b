// Improvements of a rounded matrix under the loss L = tr((W^ - W) H (W^ - W)^T).

#pragma once

#include <span>

#include "algo/input_moments.h"
#include "base/cpu.h"
#include "base/thread_pool.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

// L before and after, summed over rows.
struct LossChange {
  double before = 0;
  double after = 0;
};

// Fits the scales anew, codes and zero points fixed. Per row, with q_g the codes of group g minus
// its zero point and s the scales, W^ = sum_g s_g q_g, so that L is least where
//   sum_h A_gh s_h = b_g,  A_gh = q_g^T H_gh q_h,  b_g = q_g^T (H w)_g.
// Solved for the change of s with a ridge of 1e-7 times the mean of A's diagonal; a group whose
// codes are all at the zero point keeps its scale. Scales are rounded to the matrix's scale type,
// improved by a pass of coordinate descent over rounded scales, and accepted per row only where
// L falls. Where A is singular beyond the ridge, coordinate descent alone.
//
//   weights  [N, K]  W, finite
//   moments  of K inputs
//   matrix   [N, K] in, out
// Source: stage 2 of arXiv:2602.02126 (2026).
LossChange refit_scales(std::span<const float> weights, const InputMoments& moments, Isa isa,
                        ThreadPool& pool, QuantizedMatrix& matrix);

// Coordinate descent over the codes, scales fixed: visits the columns in order and gives each code
// the value that is best with all others as they are, `passes` times. L never rises.
LossChange descend_codes(std::span<const float> weights, const InputMoments& moments, int passes,
                         Isa isa, ThreadPool& pool, QuantizedMatrix& matrix);

}  // namespace fptq::algo
