// Sizes of a KvHead's arrays, and writing keys and values into them.

#pragma once

#include <cstddef>

#include "kernels/attention/contract.h"

namespace fptq::kernels {

// Positions that storage for `capacity` positions holds: whole blocks.
[[nodiscard]] inline constexpr std::size_t padded_capacity(std::size_t capacity) {
  return (capacity + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock;
}
// Bytes of one stored element. type: kF32, kBF16, kI8.
[[nodiscard]] inline constexpr std::size_t kv_element_bytes(ElementType type) {
  return type == ElementType::kF32 ? 4 : type == ElementType::kI8 ? 1 : 2;
}
// Bytes of KvHead::keys and of KvHead::values. Scales: padded_capacity(capacity) floats each.
[[nodiscard]] inline constexpr std::size_t key_bytes(ElementType type, std::size_t capacity,
                                                     std::size_t head_dim) {
  const std::size_t width = type == ElementType::kI8 ? (head_dim + 3) / 4 * 4 : head_dim;
  return padded_capacity(capacity) * width * kv_element_bytes(type);
}
[[nodiscard]] inline constexpr std::size_t value_bytes(ElementType type, std::size_t capacity,
                                                       std::size_t head_dim) {
  return padded_capacity(capacity) * padded_head_dim(head_dim) * kv_element_bytes(type);
}

// Stores the keys (already rotated) and values of consecutive positions.
//
//   kF32   as they are
//   kBF16  rounded to nearest, ties to even
//   kI8    per position: scale = max_d |x[d]| / 127, code = round_half_even(x[d] * (127 / max)).
//          A maximum below 2^-100 is stored as zeros; one that is infinite or NaN as scale NaN.
//
// A position's stored bytes depend on its key and value only. Padding channels hold the code 0.
struct KvStoreArgs {
  const float* k;        // [tokens, head_dim], rows k_stride elements apart
  std::size_t k_stride;  // elements
  const float* v;        // [tokens, head_dim], rows v_stride elements apart
  std::size_t v_stride;  // elements
  std::size_t tokens;
  std::size_t first_position;  // of token 0; first_position + tokens <= capacity
  std::size_t head_dim;
  KvHead kv;
};
void store_kv(const KvStoreArgs& args);

}  // namespace fptq::kernels
