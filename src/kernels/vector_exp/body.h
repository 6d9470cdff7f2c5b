// vector_exp, written once over Vec. Included by each variant after its vec_<isa>.h.

#pragma once

#include "kernels/simd/exp.h"
#include "kernels/vector_exp/contract.h"

namespace fptq::kernels {
namespace {

void vector_exp_body(const VectorExpArgs& args) {
  std::size_t i = 0;
  for (; i + Vec::kLanes <= args.count; i += Vec::kLanes) {
    store_f32(args.y + i, vec_exp(load_f32(args.x + i)));
  }
  if (i < args.count) {
    const std::size_t left = args.count - i;
    store16_partial(args.y + i, exp16(load16_partial<ElementType::kF32>(args.x + i, left)), left);
  }
}

}  // namespace
}  // namespace fptq::kernels
