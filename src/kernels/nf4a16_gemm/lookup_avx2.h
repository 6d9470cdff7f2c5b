// Looking 4-bit codes up in a table with AVX2. lookup_scalar.h says what each function means.

#pragma once

#include "kernels/simd/vec_avx2.h"
// Written over the Vec that the line above defines.
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// vpermps chooses among 8 entries; bit 3 of a code chooses the half.
struct ScaledTable {
  __m256 low;
  __m256 high;
};

inline ScaledTable scale_table(const float* table, float absmax) {
  const __m256 scale = _mm256_set1_ps(absmax);
  return {_mm256_mul_ps(_mm256_loadu_ps(table), scale),
          _mm256_mul_ps(_mm256_loadu_ps(table + 8), scale)};
}

// The 8 weights of 4 bytes: every lane gets all four and shifts its own code down.
inline Vec lookup8(const std::uint8_t* codes, const ScaledTable& table) {
  std::int32_t four;
  __builtin_memcpy(&four, codes, sizeof(four));
  const __m256i shifts = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
  const __m256i index = _mm256_srlv_epi32(_mm256_set1_epi32(four), shifts);
  const __m256 low = _mm256_permutevar8x32_ps(table.low, index);
  const __m256 high = _mm256_permutevar8x32_ps(table.high, index);
  // Bit 3 becomes the sign, by which vblendvps chooses.
  return {_mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)))};
}

inline F32x16 lookup16(const std::uint8_t* codes, const ScaledTable& table) {
  return {{lookup8(codes, table), lookup8(codes + 4, table)}};
}

inline F32x16 to_lookup_order(const F32x16& lanes) {
  return lanes;
}
inline F32x16 from_lookup_order(const F32x16& lanes) {
  return lanes;
}

}  // namespace
}  // namespace fptq::kernels
