// Weights that make up for inputs which quantization of earlier layers has changed.

#pragma once

#include <span>
#include <vector>

#include "algo/input_factor.h"
#include "algo/input_moments.h"
#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"

namespace fptq::algo {

struct CorrectionOptions {
  double alpha = 1.0;    // share of the correction that is applied
  Isa isa = best_isa();  // of the kernels; does not change results
};

// W' = W + alpha * (W D^T + R) (H + lambda I)^-1: with alpha = 1 and lambda = 0
// the least-squares solution of  W' xq = W xf + e  over all tokens.
//
//   weights        [N, K]  W, finite
//   moments        H and D; without D the term W D^T is 0
//   factor         of the same moments; gives (H + lambda I)^-1 = U^T U
//   output_moment  [N, K]  R = sum_t e_t xq_t^T, or empty: 0
//   returns        [N, K]; weights of dead columns unchanged
// Products are float32 in the order of kernels/dense_gemm/contract.h.
// Errors: kInvalidArgument names the first output channel that is not finite afterwards.
// Source: Arai and Ichikawa, "Quantization Error Propagation" (QEP), arXiv:2504.09629 (2025).
[[nodiscard]] Result<std::vector<float>> corrected_weights(
    std::span<const float> weights, const InputMoments& moments, const InputFactor& factor,
    std::span<const float> output_moment, const CorrectionOptions& options, ThreadPool& pool);

}  // namespace fptq::algo
