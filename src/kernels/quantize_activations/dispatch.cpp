#include "kernels/quantize_activations/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<QuantizeActivationsFn>> quantize_activations_variants() {
#define FPTQ_QUANTIZE_ACTIVATIONS(isa, symbol) Variant<QuantizeActivationsFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/quantize_activations/variants.inc"
  };
#undef FPTQ_QUANTIZE_ACTIVATIONS
  return kVariants;
}

}  // namespace fptq::kernels
