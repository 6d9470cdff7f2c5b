#include "kernels/double_gemm/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<DoubleGemmFn>> double_gemm_variants() {
#define FPTQ_DOUBLE_GEMM(isa, symbol) Variant<DoubleGemmFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/double_gemm/variants.inc"
  };
#undef FPTQ_DOUBLE_GEMM
  return kVariants;
}

}  // namespace fptq::kernels
