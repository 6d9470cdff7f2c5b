// The triangular factor of the inverse Gram matrix, which GPTQ and the input correction work with.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "algo/input_moments.h"
#include "base/aligned_memory.h"
#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"

namespace fptq::algo {

struct FactorOptions {
  double damping = 0.01;  // >= 0; lambda in multiples of the mean diagonal of H
  bool act_order = true;  // columns by descending diagonal of H; else as they are
  Isa isa = best_isa();   // of the kernels; does not change results
};

// How strongly the diagonal of H was raised.
struct Damping {
  double relative = 0;  // of the mean diagonal of columns that are not dead
  double lambda = 0;    // what was added to the diagonal
};

// Everything of the inputs that GPTQ needs, shared by all linears with the same inputs.
//
// Let H be the Gram matrix with rows and columns in order(), its dead columns replaced by those of
// the identity. U is the upper triangular matrix with (H + lambda I)^-1 = U^T U and a positive
// diagonal. It is computed in double and without an inverse of H: H + lambda I = R R^T with R
// upper triangular, which is a Cholesky factorization from the last row up, and U = R^-1.
//
// A column is dead when its diagonal entry is 0: no token had anything there. Unseen is not
// unused, so that its weights are rounded to nearest, as the identity's columns imply.
//
// Source: Frantar et al., "GPTQ", arXiv:2210.17323 (2022), Cholesky reformulation; static order
// "act-order" of its code.
class InputFactor {
 public:
  // Where rounding errors keep the factorization from finding a positive pivot, the damping is
  // multiplied by 10 (from 0 it becomes 1e-6) until it does.
  // Errors: kInvalidArgument where a moment holds a NaN or an infinity, names the first.
  [[nodiscard]] static Result<InputFactor> make(const InputMoments& moments,
                                                const FactorOptions& options, ThreadPool& pool);

  [[nodiscard]] std::size_t width() const { return order_.size(); }  // K
  // [K] the columns of H by descending diagonal, equal ones by index; 0, 1, ... without act_order.
  [[nodiscard]] std::span<const std::uint32_t> order() const { return order_; }
  // [K, K] row-major: U in the upper triangle, its mirror image below the diagonal. So row i has
  // U[i, j] at j >= i and column i of U, U[j, i], at j <= i.
  [[nodiscard]] std::span<const float> inverse_factor() const { return inverse_factor_; }
  [[nodiscard]] Damping damping() const { return damping_; }
  // In ascending order, as columns of the linear.
  [[nodiscard]] std::span<const std::uint32_t> dead_columns() const { return dead_columns_; }
  // How often the damping was multiplied by 10.
  [[nodiscard]] int raised() const { return raised_; }

 private:
  InputFactor() = default;

  std::vector<std::uint32_t> order_;
  std::vector<std::uint32_t> dead_columns_;
  std::vector<float, HugePageAllocator<float>> inverse_factor_;
  Damping damping_;
  int raised_ = 0;
};

}  // namespace fptq::algo
