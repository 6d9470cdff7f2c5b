// What the tests of calibrated methods share: inputs as correlated as those of a model, and the
// losses by their definitions in double.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "algo/input_moments.h"
#include "algo/rounding.h"
#include "base/rng.h"
#include "numeric/quantizer.h"

namespace fptq::algo::testing {

inline std::vector<float> random_values(std::size_t count, std::uint64_t seed, double scale) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal() * scale);
  return values;
}

// [tokens, width]: a few factors that all channels share, noise, and channels of different size.
inline std::vector<float> correlated_inputs(std::size_t tokens, std::size_t width,
                                            std::uint64_t seed) {
  constexpr std::size_t kFactors = 4;
  Rng rng(seed);
  std::vector<double> mix(kFactors * width);
  for (double& value : mix) value = rng.normal();
  std::vector<double> size(width);
  for (double& value : size) value = std::exp(0.7 * rng.normal());
  std::vector<float> inputs(tokens * width);
  for (std::size_t t = 0; t < tokens; ++t) {
    double factors[kFactors];
    for (double& factor : factors) factor = rng.normal();
    for (std::size_t k = 0; k < width; ++k) {
      double x = 0.7 * rng.normal();
      for (std::size_t f = 0; f < kFactors; ++f) x += factors[f] * mix[f * width + k];
      inputs[t * width + k] = static_cast<float>(x * size[k]);
    }
  }
  return inputs;
}

// The Gram matrix alone.
inline InputMoments moments_of(const std::vector<float>& inputs, std::size_t width,
                               ThreadPool& pool) {
  MomentAccumulator accumulator(width, false, best_isa());
  accumulator.add(inputs.data(), nullptr, inputs.size() / width, pool);
  return accumulator.finish(pool);
}

// Moments with that Gram matrix.
inline InputMoments moments_from(std::vector<float> gram, std::size_t width) {
  return {width, 1, std::move(gram), {}};
}

// sum over rows of d^T H d, d = W^ - W.
inline double loss_by_definition(std::span<const float> weights, const InputMoments& moments,
                                 const QuantizedMatrix& matrix) {
  const std::vector<float> restored = dequantize(matrix);
  double loss = 0;
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    for (std::size_t i = 0; i < matrix.cols; ++i) {
      for (std::size_t j = 0; j < matrix.cols; ++j) {
        const auto difference = [&](std::size_t k) {
          const std::size_t index = row * matrix.cols + k;
          return static_cast<double>(restored[index]) - static_cast<double>(weights[index]);
        };
        loss +=
            difference(i) * static_cast<double>(moments.gram[i * matrix.cols + j]) * difference(j);
      }
    }
  }
  return loss;
}

// The example that was worked through by hand in other ways: 5 tokens of 4 inputs, 2 outputs.
//   x  = [1 2 0 1; 2 1 1 0; 0 3 1 2; 1 1 2 -1; 3 2 -1 1], so that
//   H = x^T x
inline InputMoments example_moments() {
  return moments_from({15, 11, 1, 3, 11, 19, 4, 9, 1, 4, 7, -1, 3, 9, -1, 7}, 4);
}
inline std::vector<float> example_weights() {
  return {0.83f, -0.41f, 0.55f, 0.37f, -0.64f, 0.23f, 0.29f, -0.71f};
}

}  // namespace fptq::algo::testing
