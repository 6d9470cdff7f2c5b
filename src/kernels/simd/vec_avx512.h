// Vec in AVX-512 F, BW, DQ and VL: 16 lanes. vec_scalar.h says what each function means.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/simd/avx512_intrinsics.h"

namespace fptq::kernels {
namespace {

struct Vec {
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kRegisters = 32;
  __m512 v;
};

inline Vec vec_set(float value) {
  return {_mm512_set1_ps(value)};
}
inline Vec vec_zero() {
  return {_mm512_setzero_ps()};
}

inline __m256i load_bytes32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline Vec load_f32(const void* p) {
  return {_mm512_loadu_ps(p)};
}
inline Vec load_bf16(const void* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_bytes32(p)), 16))};
}
inline Vec load_f16(const void* p) {
  return {_mm512_cvtph_ps(load_bytes32(p))};
}
inline Vec load_i8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
inline Vec load_i32(const void* p) {
  return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))};
}
inline void store_f32(float* p, Vec a) {
  _mm512_storeu_ps(p, a.v);
}

inline Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline Vec vec_max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Vec vec_min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}

inline Vec scale_by_pow2(Vec a, Vec t) {
  const __m512i n = _mm512_sub_epi32(_mm512_castps_si512(t.v), _mm512_set1_epi32(0x4B400000));
  const __m512i half = _mm512_srai_epi32(n, 1);
  const __m512i bias = _mm512_set1_epi32(127);
  const __m512i first = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
  const __m512i second = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(n, half), bias), 23);
  const __m512 scaled = _mm512_mul_ps(a.v, _mm512_castsi512_ps(first));
  return {_mm512_mul_ps(scaled, _mm512_castsi512_ps(second))};
}

inline Vec scale_down_by_pow2(Vec a, Vec t, Vec x) {
  const __mmask16 kept = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(-100.0f), _CMP_NLT_UQ);
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(t.v), 23);
  return {_mm512_castsi512_ps(_mm512_maskz_add_epi32(kept, _mm512_castps_si512(a.v), exponent))};
}

inline Vec vec_max_bits(Vec a, Vec b) {
  return {
      _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v)))};
}
inline Vec first_lanes(Vec a, Vec b, std::size_t count) {
  const auto first = static_cast<__mmask16>(count < 16 ? (1U << count) - 1U : 0xFFFFU);
  return {_mm512_mask_blend_ps(first, b.v, a.v)};
}

inline float reduce_add(Vec a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float reduce_max(Vec a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Adds lanes at distance 8 of two vectors: 4 lanes a | 4 lanes a | 4 lanes b | 4 lanes b.
inline __m512 add_halves(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}
// Distances 8 and 4 of four vectors: 4 lanes each.
inline __m512 add_quarters(Vec a, Vec b, Vec c, Vec d) {
  const __m512 ab = add_halves(a.v, b.v);
  const __m512 cd = add_halves(c.v, d.v);
  return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
}
// Distance 2 within 128 bits: 2 lanes a, 2 lanes b.
inline __m512 add_pairs(__m512 a, __m512 b) {
  const __m512d x = _mm512_castps_pd(a);
  const __m512d y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
// 45 instructions instead of 16 times 8: halving is done for two vectors at a time.
inline Vec reduce_add_each(const Vec (&rows)[Vec::kLanes]) {
  const __m512 first = add_pairs(add_quarters(rows[0], rows[4], rows[8], rows[12]),
                                 add_quarters(rows[1], rows[5], rows[9], rows[13]));
  const __m512 second = add_pairs(add_quarters(rows[2], rows[6], rows[10], rows[14]),
                                  add_quarters(rows[3], rows[7], rows[11], rows[15]));
  return {_mm512_add_ps(_mm512_shuffle_ps(first, second, 0x88),
                        _mm512_shuffle_ps(first, second, 0xDD))};
}

inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace fptq::kernels
