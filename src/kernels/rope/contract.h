// Rotary position embedding, in the half-split order of Hugging Face checkpoints.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// Rotates each head in place: with h = Dh / 2, c = cos[p, i], s = sin[p, i], p = positions[t],
//   x'[i]     = x[i] * c - x[i + h] * s
//   x'[i + h] = x[i + h] * c + x[i] * s        for i in [0, h), every operation rounded by itself.
// Source: Su et al., "RoFormer", arXiv:2104.09864 (2021).
struct RopeArgs {
  float* x;                      // [tokens, heads, Dh], tokens x_stride elements apart
  std::size_t x_stride;          // >= heads * Dh
  std::size_t tokens;            // any
  std::size_t heads;             // any
  std::size_t head_dim;          // Dh, even
  const float* cos;              // [positions, Dh / 2], scaling of the model's kind included
  const float* sin;              // [positions, Dh / 2]
  const std::size_t* positions;  // [tokens]: rows of the tables
};

using RopeFn = void (*)(const RopeArgs&);

#define FPTQ_ROPE(isa, symbol) void symbol(const RopeArgs& args);
#include "kernels/rope/variants.inc"
#undef FPTQ_ROPE

}  // namespace fptq::kernels
