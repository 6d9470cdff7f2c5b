#include "ops/activation.h"

#include "kernels/silu_mul/dispatch.h"

namespace fptq::ops {
SiluMul::SiluMul(Isa isa) : kernel_(select_variant(kernels::silu_mul_variants(), isa).run) {}

void SiluMul::forward(const float* gate, const float* up, std::size_t count, float* y) const {
  kernel_({.gate = gate, .up = up, .y = y, .count = count});
}

}  // namespace fptq::ops
