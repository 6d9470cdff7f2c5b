// The exponential function of an array.

#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "kernels/vector_exp/contract.h"

namespace fptq::ops {

// Bits: element by element, the same for every isa. Thread safety: const members.
class Exp {
 public:
  explicit Exp(Isa isa);

  // y[i] = exp(x[i]), less than 1.1 ulp off; exp(0) = 1 exactly, exp(-inf) = 0, NaN stays NaN.
  //   x  [count]
  //   y  [count] out; may be x
  void forward(const float* x, std::size_t count, float* y) const { kernel_({x, y, count}); }

 private:
  kernels::VectorExpFn kernel_;
};

}  // namespace fptq::ops
