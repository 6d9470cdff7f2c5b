// Vec in AVX2, FMA and F16C: 8 lanes. vec_scalar.h says what each function means.

#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

struct Vec {
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kRegisters = 16;
  __m256 v;
};

inline Vec vec_set(float value) {
  return {_mm256_set1_ps(value)};
}
inline Vec vec_zero() {
  return {_mm256_setzero_ps()};
}

inline __m128i load_bytes16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline Vec load_f32(const void* p) {
  return {_mm256_loadu_ps(static_cast<const float*>(p))};
}
inline Vec load_bf16(const void* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_bytes16(p)), 16))};
}
inline Vec load_f16(const void* p) {
  return {_mm256_cvtph_ps(load_bytes16(p))};
}
inline Vec load_i8(const void* p) {
  const __m128i bytes = _mm_loadl_epi64(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
}
inline Vec load_i32(const void* p) {
  return {_mm256_cvtepi32_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline void store_f32(float* p, Vec a) {
  _mm256_storeu_ps(p, a.v);
}

inline Vec operator+(Vec a, Vec b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm256_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
inline Vec vec_max(Vec a, Vec b) {
  return {_mm256_max_ps(a.v, b.v)};
}
inline Vec vec_min(Vec a, Vec b) {
  return {_mm256_min_ps(a.v, b.v)};
}

inline Vec scale_by_pow2(Vec a, Vec t) {
  const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(t.v), _mm256_set1_epi32(0x4B400000));
  const __m256i half = _mm256_srai_epi32(n, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23);
  const __m256 scaled = _mm256_mul_ps(a.v, _mm256_castsi256_ps(first));
  return {_mm256_mul_ps(scaled, _mm256_castsi256_ps(second))};
}

inline Vec scale_down_by_pow2(Vec a, Vec t, Vec x) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(t.v), 23);
  const __m256 scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), exponent));
  return {_mm256_and_ps(scaled, _mm256_cmp_ps(x.v, _mm256_set1_ps(-100.0f), _CMP_NLT_UQ))};
}

inline Vec vec_max_bits(Vec a, Vec b) {
  return {
      _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)))};
}
inline Vec first_lanes(Vec a, Vec b, std::size_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
  return {_mm256_blendv_ps(b.v, a.v, _mm256_castsi256_ps(first))};
}

inline float reduce_add(Vec a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float reduce_max(Vec a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Adds lanes at distance 4 of two vectors: 4 lanes a, 4 lanes b.
inline __m256 add_halves(Vec a, Vec b) {
  return _mm256_add_ps(_mm256_permute2f128_ps(a.v, b.v, 0x20),
                       _mm256_permute2f128_ps(a.v, b.v, 0x31));
}
// Distance 2 within 128 bits: 2 lanes a, 2 lanes b.
inline __m256 add_pairs(__m256 a, __m256 b) {
  const __m256d x = _mm256_castps_pd(a);
  const __m256d y = _mm256_castps_pd(b);
  return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(x, y)),
                       _mm256_castpd_ps(_mm256_unpackhi_pd(x, y)));
}
inline Vec reduce_add_each(const Vec (&rows)[Vec::kLanes]) {
  const __m256 first = add_pairs(add_halves(rows[0], rows[4]), add_halves(rows[1], rows[5]));
  const __m256 second = add_pairs(add_halves(rows[2], rows[6]), add_halves(rows[3], rows[7]));
  return {_mm256_add_ps(_mm256_shuffle_ps(first, second, 0x88),
                        _mm256_shuffle_ps(first, second, 0xDD))};
}

inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace fptq::kernels
