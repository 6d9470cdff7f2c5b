// silu_mul, written once over Vec. Included by each variant after its vec_<isa>.h.

#pragma once

#include "kernels/silu_mul/contract.h"
#include "kernels/simd/exp.h"

namespace fptq::kernels {
namespace {

// How far ahead inputs are asked for, in elements: they come from memory, two streams of them.
constexpr std::size_t kAhead = 512;

inline Vec silu_mul(Vec gate, Vec up) {
  // What is below 2^-25 leaves the 1 as it is; far below, it would be subnormal, hence slow.
  const Vec exponent = vec_max(vec_set(-80.0f), vec_zero() - gate);
  const Vec denominator = vec_set(1.0f) + vec_exp(exponent);
  return gate / denominator * up;
}

void silu_mul_body(const SiluMulArgs& args) {
  std::size_t i = 0;
  for (; i + Vec::kLanes <= args.count; i += Vec::kLanes) {
    __builtin_prefetch(args.gate + i + kAhead);
    __builtin_prefetch(args.up + i + kAhead);
    store_f32(args.y + i, silu_mul(load_f32(args.gate + i), load_f32(args.up + i)));
  }
  if (i < args.count) {
    const std::size_t left = args.count - i;
    F32x16 y = load16_partial<ElementType::kF32>(args.gate + i, left);
    const F32x16 up = load16_partial<ElementType::kF32>(args.up + i, left);
    for (std::size_t part = 0; part < kParts; ++part) {
      y.part[part] = silu_mul(y.part[part], up.part[part]);
    }
    store16_partial(args.y + i, y, left);
  }
}

}  // namespace
}  // namespace fptq::kernels
