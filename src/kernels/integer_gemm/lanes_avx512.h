// Lanes of the VNNI products in AVX-512: 16 channels in a register.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"
#include "kernels/simd/avx512_intrinsics.h"

namespace fptq::kernels {
namespace {

// 32-bit integers, one per channel.
struct Lanes {
  static constexpr std::size_t kCount = 16;
  __m512i v;
};
// float32 values, one per channel.
struct FloatLanes {
  __m512 v;
};

// 12 x 2 sums, 2 weights and a broadcast fit the 32 registers.
constexpr std::size_t kTileTokens = 12;
// Where groups are short: 7 x 2 sums and 7 x 2 results.
constexpr std::size_t kOneSlabTokens = 7;
constexpr bool kOneSlabResident = true;
// Tokens that multiply nibbles directly at a time, and registers of channels times tokens then:
// each has 2 sums.
constexpr std::size_t kDirectTile = 4;
constexpr std::size_t kDirectRegisters = 8;

inline Lanes zero_lanes() {
  return {_mm512_setzero_si512()};
}
inline Lanes load_lanes(const void* p) {
  return {_mm512_loadu_si512(p)};
}
inline void store_lanes(void* p, Lanes a) {
  _mm512_storeu_si512(p, a.v);
}
inline Lanes broadcast_lanes(std::int32_t value) {
  return {_mm512_set1_epi32(value)};
}
inline Lanes broadcast_bytes(int value) {
  return {_mm512_set1_epi8(static_cast<char>(value))};
}
// 16 or 8 unsigned bytes, one per lane.
inline Lanes widen_bytes(const std::uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline Lanes operator+(Lanes a, Lanes b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {_mm512_mullo_epi32(a.v, b.v)};
}
inline Lanes operator&(Lanes a, Lanes b) {
  return {_mm512_and_si512(a.v, b.v)};
}
inline Lanes add_bytes(Lanes a, Lanes b) {
  return {_mm512_add_epi8(a.v, b.v)};
}
template <int kBits>
inline Lanes shift_right_words(Lanes a) {
  return {_mm512_srli_epi16(a.v, kBits)};
}
template <int kBits>
inline Lanes shift_right_signed(Lanes a) {
  return {_mm512_srai_epi32(a.v, kBits)};
}
// sum + the dot product of each lane's 4 unsigned bytes u with its 4 signed bytes s.
inline Lanes dot_bytes(Lanes sum, Lanes u, Lanes s) {
  return {_mm512_dpbusd_epi32(sum.v, u.v, s.v)};
}
// sum + the dot product of each lane's 2 signed 16-bit numbers.
inline Lanes dot_words(Lanes sum, Lanes a, Lanes b) {
  return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)};
}

inline FloatLanes zero_floats() {
  return {_mm512_setzero_ps()};
}
inline FloatLanes load_floats(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline void store_floats(float* p, FloatLanes a) {
  _mm512_storeu_ps(p, a.v);
}
// Past the caches; p is on a cache line.
inline void stream_floats(float* p, FloatLanes a) {
  _mm512_stream_ps(p, a.v);
}
inline FloatLanes broadcast_float(float value) {
  return {_mm512_set1_ps(value)};
}
inline FloatLanes operator*(FloatLanes a, FloatLanes b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline FloatLanes operator+(FloatLanes a, FloatLanes b) {
  return {_mm512_add_ps(a.v, b.v)};
}
// float(sum) * scale + y, rounded once after the conversion.
inline FloatLanes add_scaled(Lanes sum, FloatLanes scale, FloatLanes y) {
  return {_mm512_fmadd_ps(_mm512_cvtepi32_ps(sum.v), scale.v, y.v)};
}
// Scales widened to float32, exactly.
inline FloatLanes load_scales(const void* scales, ElementType type, std::size_t index) {
  if (type == ElementType::kF32) return load_floats(static_cast<const float*>(scales) + index);
  const __m256i half = _mm256_loadu_si256(
      reinterpret_cast<const __m256i*>(static_cast<const std::uint16_t*>(scales) + index));
  if (type == ElementType::kF16) return {_mm512_cvtph_ps(half)};
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}

// Keeps the order in which sums are written, and them in registers.
inline void keep_in_order(Lanes& a) {
  asm volatile("" : "+v"(a.v));
}

}  // namespace
}  // namespace fptq::kernels
