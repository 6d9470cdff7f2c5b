// The compiled-in variants of double_gemm, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/double_gemm/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<DoubleGemmFn>> double_gemm_variants();

}  // namespace fptq::kernels
