#include "kernels/roofline_probe/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<const RooflineProbe*>> roofline_probe_variants() {
#define FPTQ_ROOFLINE_PROBE(isa, symbol) Variant<const RooflineProbe*>{isa, &symbol},
  static constexpr std::array kVariants = {
#include "kernels/roofline_probe/variants.inc"
  };
#undef FPTQ_ROOFLINE_PROBE
  return kVariants;
}

}  // namespace fptq::kernels
