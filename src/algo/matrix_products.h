// The kernels that methods multiply with, and their scratch memory.

#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "kernels/dense_gemm/contract.h"
#include "kernels/double_gemm/contract.h"
#include "kernels/quadratic_form/contract.h"

namespace fptq::algo {

// A matrix by its first element: element (i, j) is data[i * stride + j].
template <typename T>
struct MatrixView {
  T* data;
  std::size_t stride;

  [[nodiscard]] T* row(std::size_t i) const { return data + i * stride; }
  [[nodiscard]] MatrixView at(std::size_t i, std::size_t j) const {
    return {data + i * stride + j, stride};
  }
};

// Sizes of a product: [m, k] x [k, n].
struct ProductShape {
  std::size_t m;
  std::size_t n;
  std::size_t k;
};

// The kernels of an instruction set.
class MatrixProducts {
 public:
  explicit MatrixProducts(Isa isa);

  // y[i, j] = sum_k x[i, k] * w[j, k] in the order of kernels/dense_gemm/contract.h. k = 0 gives
  // zeros.
  void multiply(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y,
                const ProductShape& shape) const;

  // c[i, j] -= sum_k a[i, k] * b[k, j] in the order of kernels/double_gemm/contract.h.
  void subtract(MatrixView<const double> a, MatrixView<const double> b, MatrixView<double> c,
                const ProductShape& shape) const;

  // y[r] = left[r]^T H right[r], in the order of kernels/quadratic_form/contract.h.
  //   left  [rows, depth]    h  [depth, cols]    right  [rows, cols]    y  [rows] out
  void quadratic_forms(MatrixView<const float> left, MatrixView<const float> h,
                       MatrixView<const float> right, std::size_t rows, std::size_t depth,
                       std::size_t cols, float* y) const;

 private:
  kernels::DenseGemmFn dense_gemm_;
  kernels::DoubleGemmFn double_gemm_;
  kernels::QuadraticFormFn quadratic_form_;
};

}  // namespace fptq::algo
