// Hadamard transform of activations: it spreads an outlier over all channels of its block.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// Every block of B consecutive values x becomes (x S) * scale, S [B, B] Sylvester's matrix of order
// B, of ones and minus ones: S[i, j] = (-1)^(number of ones in the bits of i & j).
//
// Bits: log2(B) rounds of a + b and a - b, for values at distance 1, 2, 4, ..., B / 2 in this
// order, each rounded to float32; then the product with scale. So a block depends on itself and on
// no ISA.
struct HadamardArgs {
  float* x;           // [blocks * B], in place, any alignment
  std::size_t count;  // blocks * B
  std::size_t block;  // B, a power of two
  float scale;        // 1 / sqrt(B) makes the transform its own inverse
};

using HadamardFn = void (*)(const HadamardArgs&);

#define FPTQ_HADAMARD(isa, symbol) void symbol(const HadamardArgs& args);
#include "kernels/hadamard/variants.inc"
#undef FPTQ_HADAMARD

}  // namespace fptq::kernels
