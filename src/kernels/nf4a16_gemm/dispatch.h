// The compiled-in variants of nf4a16_gemm, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/nf4a16_gemm/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<Nf4a16GemmFn>> nf4a16_gemm_variants();

}  // namespace fptq::kernels
