// The compiled-in variants of the W4A8 matrix product, fastest first; the last one is scalar.

#pragma once

#include <span>

#include "kernels/variant.h"
#include "kernels/w4a8_gemm/contract.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<IntegerGemmFn>> w4a8_gemm_variants();

// The fastest variant that `isa` allows for a matrix with groups of that width: scalar where
// groups are not whole slabs.
[[nodiscard]] const Variant<IntegerGemmFn>& select_w4a8_gemm(Isa isa, std::size_t cols,
                                                             std::size_t group_width);

}  // namespace fptq::kernels
