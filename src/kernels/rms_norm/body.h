// rms_norm, written once over Vec. Included by each variant after its vec_<isa>.h.

#pragma once

#include "kernels/rms_norm/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

float sum_of_squares(const float* x, std::size_t dim) {
  F32x16 sum = f32x16_zero();
  std::size_t d = 0;
  for (; d + kVirtualLanes <= dim; d += kVirtualLanes) {
    const F32x16 values = load16<ElementType::kF32>(x + d);
    sum = fma16(values, values, sum);
  }
  if (d < dim) {
    const F32x16 values = load16_partial<ElementType::kF32>(x + d, dim - d);
    sum = fma16(values, values, sum);
  }
  return reduce_add16(sum);
}

void rms_norm_body(const RmsNormArgs& args) {
  for (std::size_t t = 0; t < args.rows; ++t) {
    const float* x = args.x + t * args.x_stride;
    float* y = args.y + t * args.y_stride;
    const float mean = sum_of_squares(x, args.dim) / static_cast<float>(args.dim);
    const float r = 1.0f / __builtin_sqrtf(mean + args.eps);
    std::size_t d = 0;
    for (; d + Vec::kLanes <= args.dim; d += Vec::kLanes) {
      store_f32(y + d, load_f32(x + d) * vec_set(r) * load_f32(args.w + d));
    }
    for (; d < args.dim; ++d) y[d] = x[d] * r * args.w[d];
  }
}

}  // namespace
}  // namespace fptq::kernels
