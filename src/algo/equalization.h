// Per-channel factors that move the range of activations into the weights behind them:
// (X / s) * (W * s)^T = X * W^T.
//
// Shapes: X [T, K] activations, W [N, K] weights, s [K]. Linears that share an input share s.

#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"

namespace fptq::algo {

// Per-channel LAE factors: s[k] = a[k] / log2(2 + a[k]), where a[k] = max_t |X[t, k]|.
//
//   channel_absmax  [K]  a, in activation units; finite and >= 0
//   returns         [K]  s > 0: the largest activation of the channel becomes log2(2 + a[k])
//
// A dead channel (a = 0, or so small that s is 0) gets s = 1, because the formula would give 0.
// Errors: kInvalidArgument names the first channel that is negative, infinite or NaN.
// Source: Li et al., "FPTQ", arXiv:2308.15987 (2023), the LAE equation. llm-compressor feeds
// max - min where the paper has max |x|.
[[nodiscard]] Result<std::vector<float>> lae_scales(std::span<const float> channel_absmax);

// SmoothQuant factors: s[k] = a[k]^alpha / w[k]^(1 - alpha).
//
//   activation_absmax  [K]  a[k] = max_t |X[t, k]|, finite and >= 0
//   weight_absmax      [K]  w[k] = max_n |W[n, k]| over all linears with this input, likewise
//   alpha              in [0, 1]: 0 leaves the weights even, 1 the activations
//   returns            [K]  s > 0
//
// A dead channel (a = 0) gets s = 1, and one without weights (w = 0) s = a, as in llm-compressor.
// Errors: kInvalidArgument for alpha out of range, for spans of different lengths, and naming the
// first channel that is negative, infinite or NaN or whose factor float32 cannot hold.
// Source: Xiao et al., "SmoothQuant", arXiv:2211.10438 (2022), equation 4.
[[nodiscard]] Result<std::vector<float>> smoothquant_scales(
    std::span<const float> activation_absmax, std::span<const float> weight_absmax, double alpha);

// AWQ factors: r[k] = max(m[k]^ratio, 1e-4), s[k] = r[k] / sqrt(max_k r[k] * min_k r[k]).
//
//   mean_abs  [K]  m[k] = mean_t |X[t, k]|, finite and >= 0
//   ratio     in [0, 1]: 0 gives s = 1
//   returns   [K]  s > 0
//
// A dead channel (m = 0) gets s = 1 and takes no part in max and min.
// Errors: kInvalidArgument for ratio out of range, and naming the first channel that is negative,
// infinite or NaN.
// Source: Lin et al., "AWQ", arXiv:2306.00978 (2023), and the search of its published code.
[[nodiscard]] Result<std::vector<float>> awq_scales(std::span<const float> mean_abs, double ratio);

// What scaling by s [K] costs: any measure of error, finite and >= 0, for example
// |(Q(W * s) / s - W) X^T|^2.
using ScaleLoss = std::function<Result<double>(std::span<const float> scales)>;

struct AwqChoice {
  double ratio = 0;           // of the grid
  std::vector<float> scales;  // [K] awq_scales() of it
  double loss = 0;            // with these scales
  double unscaled_loss = 0;   // with ratio 0, that is without scaling
};

// The number of ratios that search_awq() tries: 0, 1/20, ..., 19/20.
inline constexpr std::size_t kAwqGrid = 20;

// Of the ratios i / 20, i = 0..19, the one whose factors lose least; of equals the smallest.
// loss_of is called once per ratio, in ascending order.
// Errors: those of awq_scales() and of loss_of; kFormat names the ratio whose loss is negative,
// infinite or NaN.
[[nodiscard]] Result<AwqChoice> search_awq(std::span<const float> mean_abs,
                                           const ScaleLoss& loss_of);

// Raises scales below `least` to it. llm-compressor's 1e-5 keeps W * s and gamma / s inside the
// range of float16 and bfloat16 for channels that are all but dead.
inline constexpr float kLeastScale = 1e-5f;
void raise_scales(std::span<float> scales, float least = kLeastScale);

// absmax[k] = max(absmax[k], max_n |weights[n, k]|): begins with zeros, called for each linear.
//   weights  [N, K], K = absmax.size()
void update_column_absmax(std::span<const float> weights, std::span<float> absmax);

// weights[n, k] *= scales[k]: the linear behind an equalized input.
//   weights  [N, K], K = scales.size()
void scale_columns(std::span<float> weights, std::span<const float> scales);

// vector[k] /= scales[k]: the norm's weight, and bias if any, in front of an equalized input.
// Errors: kFormat names the channel whose quotient float32 cannot hold; the vector is unchanged.
[[nodiscard]] Status divide_by_scales(std::span<float> vector, std::span<const float> scales);

// weights[n, k] /= scales[n] for row n: a linear in front of an equalized input.
//   weights  [N, K], N = scales.size()
// Errors: kFormat names the row whose quotient float32 cannot hold; the weights are unchanged.
[[nodiscard]] Status divide_rows_by_scales(std::span<float> weights, std::span<const float> scales);

}  // namespace fptq::algo
