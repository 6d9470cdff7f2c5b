// The compiled-in variants of activation quantization, fastest first; the last one is scalar.

#pragma once

#include <span>

#include "kernels/quantize_activations/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<QuantizeActivationsFn>> quantize_activations_variants();

}  // namespace fptq::kernels
