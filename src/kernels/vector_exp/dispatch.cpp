#include "kernels/vector_exp/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<VectorExpFn>> vector_exp_variants() {
#define FPTQ_VECTOR_EXP(isa, symbol) Variant<VectorExpFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/vector_exp/variants.inc"
  };
#undef FPTQ_VECTOR_EXP
  return kVariants;
}

}  // namespace fptq::kernels
