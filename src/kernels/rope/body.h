// rope, written once over Vec. Included by each variant after its vec_<isa>.h.

#pragma once

#include "kernels/rope/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

void rotate_head(float* x, const float* cos, const float* sin, std::size_t half) {
  std::size_t i = 0;
  for (; i + Vec::kLanes <= half; i += Vec::kLanes) {
    const Vec first = load_f32(x + i);
    const Vec second = load_f32(x + half + i);
    const Vec c = load_f32(cos + i);
    const Vec s = load_f32(sin + i);
    store_f32(x + i, first * c - second * s);
    store_f32(x + half + i, second * c + first * s);
  }
  for (; i < half; ++i) {
    const float first = x[i];
    const float second = x[half + i];
    x[i] = first * cos[i] - second * sin[i];
    x[half + i] = second * cos[i] + first * sin[i];
  }
}

void rope_body(const RopeArgs& args) {
  const std::size_t half = args.head_dim / 2;
  for (std::size_t t = 0; t < args.tokens; ++t) {
    const float* cos = args.cos + args.positions[t] * half;
    const float* sin = args.sin + args.positions[t] * half;
    for (std::size_t head = 0; head < args.heads; ++head) {
      rotate_head(args.x + t * args.x_stride + head * args.head_dim, cos, sin, half);
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
