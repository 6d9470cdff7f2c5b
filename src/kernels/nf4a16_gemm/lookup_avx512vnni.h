// Looking 4-bit codes up in a table with AVX-512. lookup_scalar.h says what each function means.

#pragma once

#include "kernels/simd/vec_avx512.h"
// Written over the Vec that the line above defines.
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

struct ScaledTable {
  __m512 entries;
};

inline ScaledTable scale_table(const float* table, float absmax) {
  return {_mm512_mul_ps(_mm512_loadu_ps(table), _mm512_set1_ps(absmax))};
}

// Eight bytes go to every pair of lanes, as they come from a broadcast: the even lane finds weight
// i in the first four, the odd one weight 8 + i in the others. vpermps heeds the low 4 bits.
inline F32x16 lookup16(const std::uint8_t* codes, const ScaledTable& table) {
  long long eight;
  __builtin_memcpy(&eight, codes, sizeof(eight));
  const __m512i shifts =
      _mm512_setr_epi32(4, 4, 0, 0, 12, 12, 8, 8, 20, 20, 16, 16, 28, 28, 24, 24);
  const __m512i index = _mm512_srlv_epi32(_mm512_set1_epi64(eight), shifts);
  return {{{_mm512_permutexvar_ps(index, table.entries)}}};
}

inline F32x16 to_lookup_order(const F32x16& lanes) {
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return {{{_mm512_permutexvar_ps(order, lanes.part[0].v)}}};
}
inline F32x16 from_lookup_order(const F32x16& lanes) {
  const __m512i order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  return {{{_mm512_permutexvar_ps(order, lanes.part[0].v)}}};
}

}  // namespace
}  // namespace fptq::kernels
