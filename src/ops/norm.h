// Root-mean-square normalization of rows.

#pragma once

#include <cstddef>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/rms_norm/contract.h"
#include "tensor/tensor.h"

namespace fptq::ops {

// Bits: a row depends on itself, the weight and eps only. Thread safety: const members.
class RmsNorm {
 public:
  // weight  [D], F32, F16 or BF16; widened to float32
  // eps     > 0 and finite
  // Errors: kFormat for another shape or eps, kUnsupported for another type.
  [[nodiscard]] static Result<RmsNorm> create(const Tensor& weight, float eps, Isa isa);

  // y[t, d] = x[t, d] / sqrt(mean(x[t]^2) + eps) * weight[d].
  //   x  [rows, D]
  //   y  [rows, D] out; may be x
  void forward(const float* x, std::size_t rows, float* y, ThreadPool& pool) const;

  // The same on the calling thread.
  void normalize(const float* x, std::size_t rows, float* y) const;

  [[nodiscard]] std::size_t width() const { return weight_.size(); }  // D
  [[nodiscard]] std::size_t bytes() const { return weight_.size() * sizeof(float); }

 private:
  RmsNorm(std::vector<float> weight, float eps, kernels::RmsNormFn kernel)
      : weight_(std::move(weight)), eps_(eps), kernel_(kernel) {}

  std::vector<float> weight_;
  float eps_;
  kernels::RmsNormFn kernel_;
};

}  // namespace fptq::ops
