// Integer products of attention with AVX2; dot_scalar.h says what each function means.
//
// Bytes are widened to 16 bits and multiplied by vpmaddwd, which adds pairs: a group of 4 leaves
// two sums in neighbouring lanes, which are added to each other at the end.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/contract.h"

namespace fptq::kernels {
namespace {

using QueryCode = std::int16_t;

struct WeightRow {
  std::int16_t code[kAttentionChunk];
};

// The low 16 bits of each of 16 words.
inline __m256i low_halves(const float* words) {
  const auto half = [&](std::size_t i) {
    const __m256i word = _mm256_castps_si256(_mm256_loadu_ps(words + i));
    return _mm256_blend_epi16(word, _mm256_setzero_si256(), 0xAA);
  };
  // Packing takes 4 from either operand in turn.
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(half(0), half(8)), 0xD8);
}

inline void store_query(const float* words, QueryCode* codes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), low_halves(words));
}

inline void store_weights(const float* words, std::size_t first, WeightRow* row) {
  for (std::size_t i = 0; i < kAttentionBlock; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row->code + first + i), low_halves(words + i));
  }
}

inline __m256i broadcast_group(const std::int16_t* p) {
  std::int64_t group;
  __builtin_memcpy(&group, p, sizeof(group));
  return _mm256_set1_epi64x(group);
}

// Rows of a step and vectors of 4 groups each: kStepRows * kStepVecs sums stay in registers.
inline constexpr std::size_t kStepVecs = 4;

// Adds the two sums of each group: 8 lanes in order from two vectors.
inline __m256i add_neighbours(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xD8);
}

// 16 columns of one or two rows: sums[r, c] = start[r] + the products of the rows' codes with
// right[g * stride + 4 c + i].
template <std::size_t kRows, bool kUnsigned>
void dot_columns(const std::int16_t* const* left, const void* right, std::size_t stride,
                 std::size_t first, std::size_t last, const std::int32_t* start, float* sums,
                 std::size_t sums_stride) {
  __m256i sum[kRows][kStepVecs];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kStepVecs; ++c) sum[r][c] = _mm256_setzero_si256();
  }
  for (std::size_t g = first; g < last; ++g) {
    __m256i wide[kStepVecs];
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kStepVecs; ++c) {
      const __m128i bytes =
          load_bytes16(static_cast<const std::uint8_t*>(right) + g * stride + 16 * c);
      wide[c] = kUnsigned ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m256i codes = broadcast_group(left[r] + 4 * g);
#pragma GCC unroll 4
      for (std::size_t c = 0; c < kStepVecs; ++c) {
        sum[r][c] = _mm256_add_epi32(sum[r][c], _mm256_madd_epi16(wide[c], codes));
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    const __m256i offset = _mm256_set1_epi32(start[r]);
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kStepVecs; c += 2) {
      const __m256i total = _mm256_add_epi32(add_neighbours(sum[r][c], sum[r][c + 1]), offset);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * sums_stride + 4 * c), total);
    }
  }
}

template <std::size_t kRows, bool kUnsigned>
void dot_rows(const std::int16_t* const* left, const void* right, std::size_t columns,
              std::size_t first, std::size_t last, const std::int32_t* start, float* sums,
              std::size_t sums_stride) {
  for (std::size_t column = 0; column < columns; column += 16) {
    const void* there = static_cast<const std::uint8_t*>(right) + 4 * column;
    std::size_t r = 0;
    for (; r + 2 <= kRows; r += 2) {
      dot_columns<2, kUnsigned>(left + r, there, 4 * columns, first, last, start + r,
                                sums + r * sums_stride + column, sums_stride);
    }
    if (r < kRows) {
      dot_columns<1, kUnsigned>(left + r, there, 4 * columns, first, last, start + r,
                                sums + r * sums_stride + column, sums_stride);
    }
  }
}

template <std::size_t kRows>
void dot_keys(const QueryCode* const* left, const std::uint8_t* right, std::size_t groups,
              const std::int32_t* start, float* sums, std::size_t sums_stride) {
  dot_rows<kRows, true>(left, right, kAttentionBlock, 0, groups, start, sums, sums_stride);
}

template <std::size_t kRows>
void dot_values(const WeightRow* weights, const std::int8_t* right, std::size_t width,
                std::size_t first, std::size_t last, float* sums, std::size_t sums_stride) {
  const std::int16_t* left[kRows];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) left[r] = weights[r].code;
  const std::int32_t start[kRows] = {};
  dot_rows<kRows, false>(left, right, width, first, last, start, sums, sums_stride);
}

}  // namespace
}  // namespace fptq::kernels
