// The compiled-in variants of dense_gemm, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/dense_gemm/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<DenseGemmFn>> dense_gemm_variants();

}  // namespace fptq::kernels
