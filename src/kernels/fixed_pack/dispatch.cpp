#include "kernels/fixed_pack/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<FixedPackFn>> fixed_pack_variants() {
#define FPTQ_FIXED_PACK(isa, symbol) Variant<FixedPackFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/fixed_pack/variants.inc"
  };
#undef FPTQ_FIXED_PACK
  return kVariants;
}

}  // namespace fptq::kernels
