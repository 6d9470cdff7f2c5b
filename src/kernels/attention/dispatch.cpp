#include "kernels/attention/dispatch.h"

#include <array>

namespace fptq::kernels {

std::span<const Variant<AttentionFn>> attention_variants() {
#define FPTQ_ATTENTION(isa, symbol) Variant<AttentionFn>{isa, symbol},
  static constexpr std::array kVariants = {
#include "kernels/attention/variants.inc"
  };
#undef FPTQ_ATTENTION
  return kVariants;
}

}  // namespace fptq::kernels
