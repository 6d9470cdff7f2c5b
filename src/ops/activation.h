// The gated activation of the feed-forward layer.

#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "kernels/silu_mul/contract.h"

namespace fptq::ops {

// Bits: element by element. Thread safety: const members.
class SiluMul {
 public:
  explicit SiluMul(Isa isa);

  // y[i] = gate[i] / (1 + exp(-gate[i])) * up[i].
  //   gate, up  [count]
  //   y         [count] out; may be gate or up
  // On the calling thread: the caller splits rows, because it quantizes them next.
  void forward(const float* gate, const float* up, std::size_t count, float* y) const;

 private:
  kernels::SiluMulFn kernel_;
};

}  // namespace fptq::ops
