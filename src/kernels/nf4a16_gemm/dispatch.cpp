#include "kernels/nf4a16_gemm/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<Nf4a16GemmFn>> nf4a16_gemm_variants() {
#define FPTQ_NF4A16_GEMM(isa, symbol) Variant<Nf4a16GemmFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/nf4a16_gemm/variants.inc"
  };
#undef FPTQ_NF4A16_GEMM
  return kVariants;
}

}  // namespace fptq::kernels
