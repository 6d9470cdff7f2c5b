// Causal attention of one sequence's queries over one key-value head.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"

namespace fptq::kernels {

// Positions whose keys are stored together. Blocks begin at absolute positions.
inline constexpr std::size_t kAttentionBlock = 64;

// Positions that are processed together. Chunks begin at absolute positions.
inline constexpr std::size_t kAttentionChunk = 256;

// Queries (token x head) that share one pass over keys and values.
inline constexpr std::size_t kAttentionRows = 24;

// How far ahead of a product keys and values are asked for: measured, and enough for memory as well
// as for the second-level cache.
inline constexpr std::size_t kPrefetchBytes = 2048;

// The keys and values of one sequence, layer and key-value head. kv_layout.h has the sizes and
// writes them; positions that were not written may hold anything.
//
// Keys are transposed within a block, so that 16 scores are computed side by side without
// horizontal sums. Of position p, with Dv = Dh rounded up to 16, the key and value of channel d are
//   kF32, kBF16  keys[(p / 64 * Dh + d) * 64 + p % 64]
//                values[p * Dv + d]
//   kI8          keys[((p / 64 * ceil(Dh / 4) + d / 4) * 64 + p % 64) * 4 + d % 4], code + 128
//                values[(p / 4 * Dv + d) * 4 + p % 4]
// int8 codes lie in groups of 4 along the axis that is summed over, as byte dot products take them.
struct KvHead {
  ElementType type;     // kF32, kBF16 or kI8
  void* keys;           // whole blocks
  void* values;         // [capacity, Dv] of type
  float* key_scales;    // [capacity], only for kI8: key = scale * code
  float* value_scales;  // [capacity], only for kI8
};

// What a call computes. Few queries over many positions are shared by threads: each does some
// chunks, and when all are done one of them merges.
enum class AttentionPart {
  kWhole,   // everything
  kChunks,  // the states of chunks [chunk_begin, chunk_end), written to `states`
  kMerge,   // out, from the states of every chunk in `states`; keys and values are not read
};

// out[t, g] = softmax_j(scale * q[t, g] . key[j]) * value[j], over the positions j that token t
// sees: p + 1 - window <= j <= p, where p = first_position + t.
//
// Bits depend on q[t, g], p, window and the stored keys and values of the positions seen, and on
// nothing else (not on tokens, group, ISA, part or what is stored behind p). With base-2
// exponentials and f = scale * log2(e), each chunk of 256 absolute positions has, over the
// positions j of it that are seen,
//   s[j] = (sum_d q[d] * key[j, d], by fma in ascending d) * f
//   m = max_j s[j];  e[j] = 2^(s[j] - m), 0 where that is below 2^-100
//   l = sum_j e[j] in 16 lanes, lane = j mod 16
//   o[d] = sum_j e[j] * value[j, d], by fma in ascending j from 0
// or for kI8, whose products are exact sums of integers,
//   a = max_d |q[d]|;  code[d] = q[d] * (127 / a), rounded half to even
//   s[j] = ((sum_d code[d] * key code[j, d]) * key scale[j]) * ((a / 127) * f)
//   w[j] = e[j] * value scale[j];  b = max_j w[j];  c[j] = w[j] * (16383 / b), rounded half to even
//   o[d] = (sum_j c[j] * value code[j, d]) * (b / 16383)
// Below 2^-100, a and b count as 0 and their codes are 0. Chunks are merged in ascending order:
//   m' = max(m, m of the chunk);  x = 2^(m - m');  y = 2^(m of the chunk - m')
//   l' = fma(l of the chunk, y, l * x), and the same for o
// and at the end out = o * (1 / l). A row whose scores are all -inf gives zeros.
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
  float* scratch;  // [attention_scratch_floats(Dh)], of this call alone; contents undefined

  // For the parts of a whole only, which has at most kAttentionRows rows, tokens * group.
  AttentionPart part = AttentionPart::kWhole;
  std::size_t chunk_begin = 0;  // absolute, chunk = position / kAttentionChunk
  std::size_t chunk_end = 0;
  // [chunks from the first that token 0 sees, tokens * group, attention_state_floats(Dh)]
  float* states = nullptr;
};

// Dv: channels of a stored value, padding included.
[[nodiscard]] inline constexpr std::size_t padded_head_dim(std::size_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}
// A row's m, l and o for one chunk, m in the first of 16 floats.
[[nodiscard]] inline constexpr std::size_t attention_state_floats(std::size_t head_dim) {
  return 32 + padded_head_dim(head_dim);
}
// States of a panel and of the tile at hand, and the panel's coded queries in at most 2 bytes.
[[nodiscard]] inline constexpr std::size_t attention_scratch_floats(std::size_t head_dim) {
  return kAttentionRows * (2 * attention_state_floats(head_dim) + padded_head_dim(head_dim) / 2);
}

using AttentionFn = void (*)(const AttentionArgs&);

#define FPTQ_ATTENTION(isa, symbol) void symbol(const AttentionArgs& args);
#include "kernels/attention/variants.inc"
#undef FPTQ_ATTENTION

}  // namespace fptq::kernels
