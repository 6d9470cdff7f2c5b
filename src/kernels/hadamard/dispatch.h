// The compiled-in variants of hadamard, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/hadamard/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<HadamardFn>> hadamard_variants();

}  // namespace fptq::kernels
