// Integer products of attention with NEON's dot products; dot_scalar.h says what each means.
//
// sdot multiplies signed bytes: the offset of stored keys is taken off as they are loaded, and
// weights are cut into two planes of 7 bits, sum = 128 * sum of the high ones + sum of the low
// ones.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/contract.h"

namespace fptq::kernels {
namespace {

using QueryCode = std::int8_t;

inline void store_query(const float* words, QueryCode* codes) {
  for (std::size_t i = 0; i < 16; i += 8) {
    const uint32x4_t a = vreinterpretq_u32_f32(vld1q_f32(words + i));
    const uint32x4_t b = vreinterpretq_u32_f32(vld1q_f32(words + i + 4));
    const uint16x8_t halves = vcombine_u16(vmovn_u32(a), vmovn_u32(b));
    vst1_s8(codes + i, vreinterpret_s8_u8(vmovn_u16(halves)));
  }
}

struct WeightRow {
  std::int8_t code[2 * kAttentionChunk];  // high planes, then low ones
};

inline void store_weights(const float* words, std::size_t first, WeightRow* row) {
  for (std::size_t i = 0; i < kAttentionBlock; i += 8) {
    const uint32x4_t a = vreinterpretq_u32_f32(vld1q_f32(words + i));
    const uint32x4_t b = vreinterpretq_u32_f32(vld1q_f32(words + i + 4));
    const uint16x8_t codes = vcombine_u16(vmovn_u32(a), vmovn_u32(b));
    const uint8x8_t low = vmovn_u16(vandq_u16(codes, vdupq_n_u16(127)));
    vst1_s8(row->code + first + i, vreinterpret_s8_u8(vshrn_n_u16(codes, 7)));
    vst1_s8(row->code + kAttentionChunk + first + i, vreinterpret_s8_u8(low));
  }
}

inline int8x16_t broadcast_group(const std::int8_t* p) {
  std::int32_t group;
  __builtin_memcpy(&group, p, sizeof(group));
  return vreinterpretq_s8_s32(vdupq_n_s32(group));
}

// Taking the offset off the keys leaves nothing for `start` to correct.
template <std::size_t kRows>
void dot_keys(const QueryCode* const* left, const std::uint8_t* right, std::size_t groups,
              const std::int32_t*, float* sums, std::size_t sums_stride) {
  for (std::size_t column = 0; column < kAttentionBlock; column += 16) {
    int32x4_t sum[kRows][4];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c) sum[r][c] = vdupq_n_s32(0);
    }
    for (std::size_t g = 0; g < groups; ++g) {
      int8x16_t keys[4];
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c) {
        const uint8x16_t bytes = vld1q_u8(right + (g * kAttentionBlock + column + 4 * c) * 4);
        keys[c] = vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)));
      }
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const int8x16_t q = broadcast_group(left[r] + 4 * g);
#pragma GCC unroll 4
        for (std::size_t c = 0; c < 4; ++c) sum[r][c] = vdotq_s32(sum[r][c], keys[c], q);
      }
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c) {
        vst1q_f32(sums + r * sums_stride + column + 4 * c, vreinterpretq_f32_s32(sum[r][c]));
      }
    }
  }
}

template <std::size_t kRows>
void dot_values(const WeightRow* weights, const std::int8_t* right, std::size_t width,
                std::size_t first, std::size_t last, float* sums, std::size_t sums_stride) {
  for (std::size_t column = 0; column < width; column += 16) {
    int32x4_t sum[kRows][4];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c) sum[r][c] = vdupq_n_s32(0);
    }
    const auto add_plane = [&](std::size_t plane) {
      for (std::size_t g = first; g < last; ++g) {
        int8x16_t values[4];
#pragma GCC unroll 4
        for (std::size_t c = 0; c < 4; ++c) {
          values[c] = vld1q_s8(right + (g * width + column + 4 * c) * 4);
        }
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kRows; ++r) {
          const int8x16_t w = broadcast_group(weights[r].code + plane + 4 * g);
#pragma GCC unroll 4
          for (std::size_t c = 0; c < 4; ++c) sum[r][c] = vdotq_s32(sum[r][c], values[c], w);
        }
      }
    };
    add_plane(0);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c) sum[r][c] = vshlq_n_s32(sum[r][c], 7);
    }
    add_plane(kAttentionChunk);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c)
        vst1q_f32(sums + r * sums_stride + column + 4 * c, vreinterpretq_f32_s32(sum[r][c]));
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
