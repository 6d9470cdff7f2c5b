// The compiled-in variants of fixed_gemm, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/fixed_gemm/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<FixedGemmFn>> fixed_gemm_variants();

}  // namespace fptq::kernels
