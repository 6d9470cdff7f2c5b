#include "kernels/w4a8_gemm/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<IntegerGemmFn>> w4a8_gemm_variants() {
#define FPTQ_W4A8_GEMM(isa, symbol) Variant<IntegerGemmFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/w4a8_gemm/variants.inc"
  };
#undef FPTQ_W4A8_GEMM
  return kVariants;
}

const Variant<IntegerGemmFn>& select_w4a8_gemm(Isa isa, std::size_t cols, std::size_t group_width) {
  return select_variant(w4a8_gemm_variants(),
                        groups_are_whole_slabs(cols, group_width) ? isa : Isa::kScalar);
}

}  // namespace fptq::kernels
