// Lanes of the VNNI products in AVX-VNNI: 8 channels in a register.

#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"

namespace fptq::kernels {
namespace {

// 32-bit integers, one per channel.
struct Lanes {
  static constexpr std::size_t kCount = 8;
  __m256i v;
};
// float32 values, one per channel.
struct FloatLanes {
  __m256 v;
};

// 6 x 2 sums, 2 weights and a broadcast fit the 16 registers.
constexpr std::size_t kTileTokens = 6;
// Where groups are short: results would not fit as well.
constexpr std::size_t kOneSlabTokens = 6;
constexpr bool kOneSlabResident = false;
// Tokens that multiply nibbles directly at a time, and registers of channels times tokens then:
// each has 2 sums.
constexpr std::size_t kDirectTile = 2;
constexpr std::size_t kDirectRegisters = 4;

inline Lanes zero_lanes() {
  return {_mm256_setzero_si256()};
}
inline Lanes load_lanes(const void* p) {
  return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
}
inline void store_lanes(void* p, Lanes a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), a.v);
}
inline Lanes broadcast_lanes(std::int32_t value) {
  return {_mm256_set1_epi32(value)};
}
inline Lanes broadcast_bytes(int value) {
  return {_mm256_set1_epi8(static_cast<char>(value))};
}
// 8 unsigned bytes, one per lane.
inline Lanes widen_bytes(const std::uint8_t* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
inline Lanes operator+(Lanes a, Lanes b) {
  return {_mm256_add_epi32(a.v, b.v)};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {_mm256_sub_epi32(a.v, b.v)};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {_mm256_mullo_epi32(a.v, b.v)};
}
inline Lanes operator&(Lanes a, Lanes b) {
  return {_mm256_and_si256(a.v, b.v)};
}
inline Lanes add_bytes(Lanes a, Lanes b) {
  return {_mm256_add_epi8(a.v, b.v)};
}
template <int kBits>
inline Lanes shift_right_words(Lanes a) {
  return {_mm256_srli_epi16(a.v, kBits)};
}
template <int kBits>
inline Lanes shift_right_signed(Lanes a) {
  return {_mm256_srai_epi32(a.v, kBits)};
}
// sum + the dot product of each lane's 4 unsigned bytes u with its 4 signed bytes s.
inline Lanes dot_bytes(Lanes sum, Lanes u, Lanes s) {
  return {_mm256_dpbusd_avx_epi32(sum.v, u.v, s.v)};
}
// sum + the dot product of each lane's 2 signed 16-bit numbers.
inline Lanes dot_words(Lanes sum, Lanes a, Lanes b) {
  return {_mm256_dpwssd_avx_epi32(sum.v, a.v, b.v)};
}

inline FloatLanes zero_floats() {
  return {_mm256_setzero_ps()};
}
inline FloatLanes load_floats(const float* p) {
  return {_mm256_loadu_ps(p)};
}
inline void store_floats(float* p, FloatLanes a) {
  _mm256_storeu_ps(p, a.v);
}
// Past the caches; p is a multiple of 32 bytes.
inline void stream_floats(float* p, FloatLanes a) {
  _mm256_stream_ps(p, a.v);
}
inline FloatLanes broadcast_float(float value) {
  return {_mm256_set1_ps(value)};
}
inline FloatLanes operator*(FloatLanes a, FloatLanes b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline FloatLanes operator+(FloatLanes a, FloatLanes b) {
  return {_mm256_add_ps(a.v, b.v)};
}
// float(sum) * scale + y, rounded once after the conversion.
inline FloatLanes add_scaled(Lanes sum, FloatLanes scale, FloatLanes y) {
  return {_mm256_fmadd_ps(_mm256_cvtepi32_ps(sum.v), scale.v, y.v)};
}
// Scales widened to float32, exactly.
inline FloatLanes load_scales(const void* scales, ElementType type, std::size_t index) {
  if (type == ElementType::kF32) return load_floats(static_cast<const float*>(scales) + index);
  const __m128i half = _mm_loadu_si128(
      reinterpret_cast<const __m128i*>(static_cast<const std::uint16_t*>(scales) + index));
  if (type == ElementType::kF16) return {_mm256_cvtph_ps(half)};
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16))};
}

// Keeps the order in which sums are written, and them in registers.
inline void keep_in_order(Lanes& a) {
  asm volatile("" : "+x"(a.v));
}

}  // namespace
}  // namespace fptq::kernels
