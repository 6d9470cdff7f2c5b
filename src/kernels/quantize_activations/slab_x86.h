// The 32 codes of a slab in a 256-bit register.

#pragma once

#include <immintrin.h>

#include "kernels/quantize_activations/contract.h"

namespace fptq::kernels {
namespace {

// Ones in the bytes of a slab that are inputs.
inline __m256i input_mask(std::size_t inputs) {
  alignas(32) std::int8_t mask[kSlabCols];
  for (std::size_t i = 0; i < kSlabCols; ++i) {
    mask[i] = i < inputs ? static_cast<std::int8_t>(-1) : std::int8_t{0};
  }
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(mask));
}

// The two 16-bit pair sums of 32 codes, as one 32-bit word.
inline std::int32_t pair_sums(__m256i codes) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
  __m128i sum = _mm_add_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  sum = _mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

inline void store_slab(__m256i slab_codes, std::int8_t* codes, std::int16_t* sums) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), slab_codes);
  const std::int32_t sum = pair_sums(slab_codes);
  __builtin_memcpy(sums, &sum, sizeof(sum));
}

}  // namespace
}  // namespace fptq::kernels
