// GPTQ: rounding column by column, each error made good by the columns that follow.

#pragma once

#include <span>

#include "algo/input_factor.h"
#include "algo/input_moments.h"
#include "algo/rounding.h"
#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

struct GptqOptions {
  bool search_scales = true;    // search_grid() weighted by the diagonal of H; else minmax_grid()
  bool refit = true;            // refit_scales() afterwards
  int descent_passes = 0;       // of descend_codes(), followed by another refit where refit is set
  bool measure_nearest = true;  // also compute nearest_loss, at a quarter of the whole cost
  Isa isa = best_isa();         // of the kernels; does not change results
};

// What a calibrated method did. Losses are L(W^) = tr((W^ - W') H (W^ - W')^T) with W' the weights
// given and W^ the dequantized ones: the squared error of the outputs over all tokens.
struct RoundingOutcome {
  RoundingError error;      // against the weights given, not weighted by inputs
  double loss = 0;          // L of the result
  double before_refit = 0;  // L of GPTQ itself
  double nearest_loss = 0;  // L of round to nearest on minmax_grid(); 0 unless measured
};

// Rounds a matrix by GPTQ with static groups: grids come from the given weights, each from its full
// group of columns as the file has them, and columns are rounded in the factor's order,
//   q_i = Q(w_i),  e = (w_i - q_i) / U_ii,  w_j -= e U_ij  for j > i.
//
//   weights  [N, K]  W', finite
//   moments  of K inputs
//   factor   of these moments
//   matrix   out, [N, K] from make_quantized_matrix(): any group width, per channel, either
//            symmetry, 4 or 8 bits; codes are in the order of the file
// The result depends on each row's weights and the inputs only: not on the other rows, the number
// of threads or the instruction set.
// Errors: kInvalidArgument where sizes do not match, or a weight is not finite.
// Source: Frantar et al., "GPTQ", arXiv:2210.17323 (2022).
[[nodiscard]] Result<RoundingOutcome> round_gptq(std::span<const float> weights,
                                                 const InputMoments& moments,
                                                 const InputFactor& factor,
                                                 const GptqOptions& options, ThreadPool& pool,
                                                 QuantizedMatrix& matrix);

}  // namespace fptq::algo
