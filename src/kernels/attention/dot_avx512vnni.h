// Integer products of attention with AVX-512 VNNI; dot_scalar.h says what each function means.
//
// vpdpbusd multiplies unsigned with signed bytes: keys are stored with an offset of 128, and
// weights are cut into two planes of 7 bits, sum = 128 * sum of the high ones + sum of the low
// ones. A plane's sum is at most 127 * 127 * 256 < 2^22, so that 128 times as much fits.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/contract.h"

namespace fptq::kernels {
namespace {

using QueryCode = std::int8_t;

inline void store_query(const float* words, QueryCode* codes) {
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_loadu_si512(words));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), bytes);
}

struct WeightRow {
  std::uint8_t code[2 * kAttentionChunk];  // high planes, then low ones
};

inline void store_weights(const float* words, std::size_t first, WeightRow* row) {
  const __m512i even =
      _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                       24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i quads = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
  // Codes of 32 positions each, in order.
  const __m512i a =
      _mm512_permutex2var_epi16(_mm512_loadu_si512(words), even, _mm512_loadu_si512(words + 16));
  const __m512i b = _mm512_permutex2var_epi16(_mm512_loadu_si512(words + 32), even,
                                              _mm512_loadu_si512(words + 48));
  const __m512i low_bits = _mm512_set1_epi16(127);
  const __m512i high = _mm512_packus_epi16(_mm512_srli_epi16(a, 7), _mm512_srli_epi16(b, 7));
  const __m512i low =
      _mm512_packus_epi16(_mm512_and_si512(a, low_bits), _mm512_and_si512(b, low_bits));
  // Packing takes 8 bytes from either operand in turn.
  _mm512_storeu_si512(row->code + first, _mm512_permutexvar_epi64(quads, high));
  _mm512_storeu_si512(row->code + kAttentionChunk + first, _mm512_permutexvar_epi64(quads, low));
}

inline __m512i broadcast_group(const void* p) {
  std::int32_t group;
  __builtin_memcpy(&group, p, sizeof(group));
  return _mm512_set1_epi32(group);
}

template <std::size_t kRows>
void dot_keys(const QueryCode* const* left, const std::uint8_t* right, std::size_t groups,
              const std::int32_t* start, float* sums, std::size_t sums_stride) {
  __m512i sum[kRows][4];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < 4; ++c) sum[r][c] = _mm512_set1_epi32(start[r]);
  }
  for (std::size_t g = 0; g < groups; ++g) {
    __m512i keys[4];
#pragma GCC unroll 4
    for (std::size_t c = 0; c < 4; ++c) {
      const std::uint8_t* at = right + (4 * g + c) * 64;
      prefetch(at + kPrefetchBytes);
      keys[c] = _mm512_loadu_si512(at);
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512i q = broadcast_group(left[r] + 4 * g);
#pragma GCC unroll 4
      for (std::size_t c = 0; c < 4; ++c) sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], keys[c], q);
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < 4; ++c) {
      _mm512_storeu_si512(sums + r * sums_stride + 16 * c, sum[r][c]);
    }
  }
}

// kVecs * 16 channels of dot_values.
template <std::size_t kRows, std::size_t kVecs>
void dot_value_columns(const WeightRow* weights, const std::int8_t* right, std::size_t width,
                       std::size_t first, std::size_t last, float* sums, std::size_t sums_stride) {
  __m512i sum[kRows][kVecs];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kVecs; ++c) sum[r][c] = _mm512_setzero_si512();
  }
#pragma GCC unroll 1
  for (std::size_t plane = 0; plane < 2; ++plane) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t c = 0; c < kVecs; ++c) sum[r][c] = _mm512_slli_epi32(sum[r][c], 7);
    }
    for (std::size_t g = first; g < last; ++g) {
      __m512i values[kVecs];
#pragma GCC unroll 4
      for (std::size_t c = 0; c < kVecs; ++c) {
        const std::int8_t* at = right + (g * width + 16 * c) * 4;
        prefetch(at + kPrefetchBytes);
        values[c] = _mm512_loadu_si512(at);
      }
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m512i w = broadcast_group(weights[r].code + plane * kAttentionChunk + 4 * g);
#pragma GCC unroll 4
        for (std::size_t c = 0; c < kVecs; ++c) {
          sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], w, values[c]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kVecs; ++c) {
      _mm512_storeu_si512(sums + r * sums_stride + 16 * c, sum[r][c]);
    }
  }
}

template <std::size_t kRows>
void dot_values(const WeightRow* weights, const std::int8_t* right, std::size_t width,
                std::size_t first, std::size_t last, float* sums, std::size_t sums_stride) {
  std::size_t d = 0;
  for (; d + 64 <= width; d += 64) {
    dot_value_columns<kRows, 4>(weights, right + d * 4, width, first, last, sums + d, sums_stride);
  }
  for (; d < width; d += 16) {
    dot_value_columns<kRows, 1>(weights, right + d * 4, width, first, last, sums + d, sums_stride);
  }
}

}  // namespace
}  // namespace fptq::kernels
