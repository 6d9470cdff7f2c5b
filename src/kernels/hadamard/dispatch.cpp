#include "kernels/hadamard/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<HadamardFn>> hadamard_variants() {
#define FPTQ_HADAMARD(isa, symbol) Variant<HadamardFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/hadamard/variants.inc"
  };
#undef FPTQ_HADAMARD
  return kVariants;
}

}  // namespace fptq::kernels
