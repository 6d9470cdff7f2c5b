#include "kernels/dense_gemm/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<DenseGemmFn>> dense_gemm_variants() {
#define FPTQ_DENSE_GEMM(isa, symbol) Variant<DenseGemmFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/dense_gemm/variants.inc"
  };
#undef FPTQ_DENSE_GEMM
  return kVariants;
}

}  // namespace fptq::kernels
