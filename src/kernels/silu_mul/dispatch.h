// The compiled-in variants of silu_mul, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/silu_mul/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<SiluMulFn>> silu_mul_variants();

}  // namespace fptq::kernels
