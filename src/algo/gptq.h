// GPTQ: rounding column by column, each error made good by the columns that follow.

#pragma once

#include <cstdint>
#include <span>

#include "algo/input_factor.h"
#include "algo/input_moments.h"
#include "algo/rounding.h"
#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

// How the grids of groups are chosen before columns are rounded.
enum class GridChoice : std::uint8_t {
  kRange,     // minmax_grid()
  kDiagonal,  // search_grid() with importance H_kk
  kFactor,    // search_grid() with importance 1 / U_kk^2: what an error in column k costs once the
              // columns that follow have made up for it
};

struct GptqOptions {
  GridChoice grids = GridChoice::kFactor;
  // Rounds that come after the first: scales are refitted, columns rounded again on them, and each
  // row keeps what is better.
  int alternations = 2;
  bool refit = true;       // refit_scales() at the end, and in alternations
  int descent_passes = 0;  // of descend_codes(), followed by another refit where refit is set
  Isa isa = best_isa();    // of the kernels; does not change results
};

// What a calibrated method did. Losses are L(W^) = tr((W^ - W') (H + lambda I) (W^ - W')^T) with W'
// the weights given and W^ the dequantized ones: the squared error of the outputs over all tokens,
// damped.
struct RoundingOutcome {
  double loss = 0;        // L of the result
  double first_loss = 0;  // L of GPTQ alone, before alternations and refit
};

// Rounds a matrix by GPTQ with static groups: grids come from the given weights, each from its full
// group of columns as the file has them, and columns are rounded in the factor's order,
//   q_i = Q(w_i),  e = (w_i - q_i) / U_ii,  w_j -= e U_ij  for j > i.
//
//   weights  [N, K]  W', finite
//   moments  of K inputs, damped: H + lambda I (damp())
//   factor   of these moments before they were damped
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
