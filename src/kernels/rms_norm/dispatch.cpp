#include "kernels/rms_norm/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<RmsNormFn>> rms_norm_variants() {
#define FPTQ_RMS_NORM(isa, symbol) Variant<RmsNormFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/rms_norm/variants.inc"
  };
#undef FPTQ_RMS_NORM
  return kVariants;
}

}  // namespace fptq::kernels
