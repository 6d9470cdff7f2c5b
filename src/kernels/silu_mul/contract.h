// The gate of Llama's feed-forward layer.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// y[i] = (gate[i] / (1 + exp(-gate[i]))) * up[i], with the exp of kernels/simd/exp.h and every
// other operation rounded by itself.
// Source: Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020), SwiGLU.
struct SiluMulArgs {
  const float* gate;  // [count]
  const float* up;    // [count]
  float* y;           // [count] out; may be gate or up
  std::size_t count;  // any
};

using SiluMulFn = void (*)(const SiluMulArgs&);

#define FPTQ_SILU_MUL(isa, symbol) void symbol(const SiluMulArgs& args);
#include "kernels/silu_mul/variants.inc"
#undef FPTQ_SILU_MUL

}  // namespace fptq::kernels
