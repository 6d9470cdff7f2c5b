#include "kernels/silu_mul/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<SiluMulFn>> silu_mul_variants() {
#define FPTQ_SILU_MUL(isa, symbol) Variant<SiluMulFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/silu_mul/variants.inc"
  };
#undef FPTQ_SILU_MUL
  return kVariants;
}

}  // namespace fptq::kernels
