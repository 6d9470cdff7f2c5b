#include "kernels/rope/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<RopeFn>> rope_variants() {
#define FPTQ_ROPE(isa, symbol) Variant<RopeFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/rope/variants.inc"
  };
#undef FPTQ_ROPE
  return kVariants;
}

}  // namespace fptq::kernels
