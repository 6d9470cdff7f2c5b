#include "kernels/quadratic_form/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<QuadraticFormFn>> quadratic_form_variants() {
#define FPTQ_QUADRATIC_FORM(isa, symbol) Variant<QuadraticFormFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/quadratic_form/variants.inc"
  };
#undef FPTQ_QUADRATIC_FORM
  return kVariants;
}

}  // namespace fptq::kernels
