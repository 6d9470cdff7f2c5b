// Causal attention of one sequence's queries over one key-value head.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"

namespace fptq::kernels {

// Positions that are stored and processed together. Blocks begin at absolute positions.
inline constexpr std::size_t kAttentionBlock = 64;

// Queries (token x head) that share one pass over keys and values.
inline constexpr std::size_t kAttentionRows = 24;

// The keys and values of one sequence, layer and key-value head. kv_layout.h has the sizes and
// writes them; positions that were not written may hold anything.
//
// Keys are transposed within a block, so that 16 scores are computed side by side without
// horizontal sums:  key of position p, channel d:    keys[(p / 64 * Dh + d) * 64 + p % 64]
//                   value of position p, channel d:  values[p * Dv + d], Dv = Dh rounded up to 16
struct KvHead {
  ElementType type;     // kF32, kBF16 or kI8
  void* keys;           // [capacity / 64, Dh, 64] of type
  void* values;         // [capacity, Dv] of type
  float* key_scales;    // [capacity], only for kI8: key = scale * code
  float* value_scales;  // [capacity], only for kI8
};

// out[t, g] = softmax_j(scale * q[t, g] . key[j]) * value[j], over the positions j that token t
// sees: p + 1 - window <= j <= p, where p = first_position + t.
//
// Bits depend on q[t, g], p, window and the stored keys and values of the positions seen, and on
// nothing else (not on tokens, group, ISA or what is stored behind p). For each block of 64
// absolute positions in ascending order (an online softmax):
//   s[j] = (sum_d q[d] * key[j, d], by fma in ascending d, * key scale) * scale
//   m' = max(m, max_j s[j]);  c = exp(m - m');  e[j] = exp(s[j] - m')
//   l' = l * c + sum_j e[j] in 16 lanes, lane = j mod 16;  o' = o * c
//   o'[d] += (e[j] * value scale) * value[j, d], by fma in ascending j
// and at the end o / l. A row whose scores are all -inf gives zeros.
struct AttentionArgs {
  const float* q;              // query of token t, head g: q + t * q_stride + g * head_dim
  std::size_t q_stride;        // elements between tokens
  float* out;                  // like q
  std::size_t out_stride;      // elements between tokens
  std::size_t tokens;          // queries, any
  std::size_t group;           // query heads that share this key-value head, any
  std::size_t first_position;  // of token 0; positions [0, first_position + tokens) are stored
  std::size_t window;          // positions that a query sees, its own included; 0: all
  std::size_t head_dim;        // Dh >= 1
  float scale;                 // 1 / sqrt(Dh)
  KvHead kv;
  float* scratch;  // [kAttentionRows * Dv], of this call alone; contents undefined
};

using AttentionFn = void (*)(const AttentionArgs&);

#define FPTQ_ATTENTION(isa, symbol) void symbol(const AttentionArgs& args);
#include "kernels/attention/variants.inc"
#undef FPTQ_ATTENTION

}  // namespace fptq::kernels
