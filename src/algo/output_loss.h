// What rounding does to the outputs of a linear.

#pragma once

#include <span>
#include <vector>

#include "algo/input_moments.h"
#include "base/cpu.h"
#include "base/thread_pool.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

// L = tr((W^ - W) H (W^ - W)^T), the squared error of the outputs summed over tokens, W^ the
// dequantized matrix: what each output channel adds to it, [N].
//
//   weights  [N, K]  W, finite
//   moments  of K inputs
//   matrix   [N, K]
// Products are float32 in the order of kernels/dense_gemm/contract.h, the rest is double: good to
// some 1e-5 relative where H is not close to singular.
[[nodiscard]] std::vector<double> row_losses(std::span<const float> weights,
                                             const InputMoments& moments,
                                             const QuantizedMatrix& matrix, Isa isa,
                                             ThreadPool& pool);
// Their sum.
[[nodiscard]] double output_loss(std::span<const float> weights, const InputMoments& moments,
                                 const QuantizedMatrix& matrix, Isa isa, ThreadPool& pool);

// difference[r, :] = W^ - W for `rows` rows from first_row on.
//   difference  [rows, cols] out, rows stride elements apart
void weight_difference(std::span<const float> weights, const QuantizedMatrix& matrix,
                       std::size_t first_row, std::size_t rows, float* difference,
                       std::size_t stride);

// Rows that a thread takes at a time where a matrix is multiplied by H: as many as the kernels
// like best, fewer where that would leave threads without work.
[[nodiscard]] std::size_t panel_rows(std::size_t rows, std::size_t threads);

}  // namespace fptq::algo
