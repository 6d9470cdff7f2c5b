// Integer products of attention without vector instructions: what the other dot_<isa>.h compute.
//
// Stored bytes come in groups of 4 along the summed axis, so that one instruction of a CPU with
// byte dot products multiplies and adds a group of each of its lanes.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/contract.h"

namespace fptq::kernels {
namespace {

// How coded queries and coded weights lie in memory.
using QueryCode = std::int8_t;

// Keeps the low bits, which hold a code from -127 to 127, of each of 16 words.
inline void store_query(const float* words, QueryCode* codes) {
  for (std::size_t i = 0; i < 16; ++i) codes[i] = element<std::int8_t>(words + i, 0);
}

// A row of weights of one chunk: 14 bits each.
struct WeightRow {
  std::int16_t code[kAttentionChunk];
};

// Keeps the low 16 bits, which hold a code from 0 to 16383, of each of a block's words.
inline void store_weights(const float* words, std::size_t first, WeightRow* row) {
  for (std::size_t i = 0; i < kAttentionBlock; ++i) {
    row->code[first + i] = element<std::int16_t>(words + i, 0);
  }
}

// start[r] takes off what the offset of keys adds: it is -128 times the sum of the row's codes. The
// int32 sums take the place of the floats that they become.
//
// sums[r, p] = start[r] + sum over g, i of left[r][4 g + i] * right[(64 g + p) * 4 + i], for the
// 64 positions p of a block and kRows rows.
template <std::size_t kRows>
void dot_keys(const QueryCode* const* left, const std::uint8_t* right, std::size_t groups,
              const std::int32_t* start, float* sums, std::size_t sums_stride) {
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t p = 0; p < kAttentionBlock; ++p) {
      std::int32_t sum = start[r];
      for (std::size_t d = 0; d < 4 * groups; ++d) {
        sum += left[r][d] * right[(d / 4 * kAttentionBlock + p) * 4 + d % 4];
      }
      __builtin_memcpy(sums + r * sums_stride + p, &sum, sizeof(sum));
    }
  }
}

// sums[r, d] = sum over j in [4 first, 4 last) of weight[r][j] * right[(j / 4 * width + d) * 4 + j
// % 4], for the `width` channels, a multiple of 16, and kRows rows.
template <std::size_t kRows>
void dot_values(const WeightRow* weights, const std::int8_t* right, std::size_t width,
                std::size_t first, std::size_t last, float* sums, std::size_t sums_stride) {
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t d = 0; d < width; ++d) {
      std::int32_t sum = 0;
      for (std::size_t j = 4 * first; j < 4 * last; ++j) {
        sum += weights[r].code[j] * right[(j / 4 * width + d) * 4 + j % 4];
      }
      __builtin_memcpy(sums + r * sums_stride + d, &sum, sizeof(sum));
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
