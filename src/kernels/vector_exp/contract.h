// The exponential function of an array.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// y[i] = exp(x[i]) by kernels/simd/exp.h, which attention and silu_mul use too: less than 1.1 ulp
// off, 0 from -104 down, infinite above 88.7228, NaN for NaN.
struct VectorExpArgs {
  const float* x;     // [count]
  float* y;           // [count] out; may be x
  std::size_t count;  // any
};

using VectorExpFn = void (*)(const VectorExpArgs&);

#define FPTQ_VECTOR_EXP(isa, symbol) void symbol(const VectorExpArgs& args);
#include "kernels/vector_exp/variants.inc"
#undef FPTQ_VECTOR_EXP

}  // namespace fptq::kernels
