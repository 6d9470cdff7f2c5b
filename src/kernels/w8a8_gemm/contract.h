// W8A8 matrix product: packed 8-bit weights, 8-bit activations, exact integer sums.

#pragma once

#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {

// Every variant: void w8a8_gemm_<isa>(const IntegerGemmArgs&), weights packed with 8 bits.
// Variants other than scalar need groups_are_whole_slabs().
#define FPTQ_W8A8_GEMM(isa, symbol) void symbol(const IntegerGemmArgs& args);
#include "kernels/w8a8_gemm/variants.inc"
#undef FPTQ_W8A8_GEMM

}  // namespace fptq::kernels
