#include "kernels/fixed_gemm/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<FixedGemmFn>> fixed_gemm_variants() {
#define FPTQ_FIXED_GEMM(isa, symbol) Variant<FixedGemmFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/fixed_gemm/variants.inc"
  };
#undef FPTQ_FIXED_GEMM
  return kVariants;
}

}  // namespace fptq::kernels
