#include "algo/matrix_products.h"

#include <algorithm>

#include "kernels/dense_gemm/dispatch.h"
#include "kernels/double_gemm/dispatch.h"
#include "kernels/quadratic_form/dispatch.h"

namespace fptq::algo {

MatrixProducts::MatrixProducts(Isa isa)
    : dense_gemm_(select_variant(kernels::dense_gemm_variants(), isa).run),
      double_gemm_(select_variant(kernels::double_gemm_variants(), isa).run),
      quadratic_form_(select_variant(kernels::quadratic_form_variants(), isa).run) {}

void MatrixProducts::multiply(MatrixView<const float> x, MatrixView<const float> w,
                              MatrixView<float> y, const ProductShape& shape) const {
  if (shape.k == 0) {
    for (std::size_t i = 0; i < shape.m; ++i) std::fill_n(y.row(i), shape.n, 0.0f);
    return;
  }
  alignas(64) float scratch[kernels::kDenseGemmScratchFloats];
  dense_gemm_({.x = x.data,
               .x_stride = x.stride,
               .w = w.data,
               .w_stride = w.stride,
               .w_type = kernels::ElementType::kF32,
               .y = y.data,
               .y_stride = y.stride,
               .m = shape.m,
               .n = shape.n,
               .k = shape.k,
               .scratch = scratch});
}

void MatrixProducts::subtract(MatrixView<const double> a, MatrixView<const double> b,
                              MatrixView<double> c, const ProductShape& shape) const {
  alignas(64) double scratch[kernels::kDoubleGemmScratchDoubles];
  double_gemm_({.a = a.data,
                .a_stride = a.stride,
                .b = b.data,
                .b_stride = b.stride,
                .c = c.data,
                .c_stride = c.stride,
                .m = shape.m,
                .n = shape.n,
                .k = shape.k,
                .scratch = scratch});
}

void MatrixProducts::quadratic_forms(MatrixView<const float> left, MatrixView<const float> h,
                                     MatrixView<const float> right, std::size_t rows,
                                     std::size_t depth, std::size_t cols, float* y) const {
  quadratic_form_({.left = left.data,
                   .left_stride = left.stride,
                   .h = h.data,
                   .h_stride = h.stride,
                   .right = right.data,
                   .right_stride = right.stride,
                   .y = y,
                   .rows = rows,
                   .depth = depth,
                   .cols = cols});
}

}  // namespace fptq::algo
