// Vec in Armv8.2 NEON: 4 lanes. vec_scalar.h says what each function means.

#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

struct Vec {
  static constexpr std::size_t kLanes = 4;
  static constexpr std::size_t kRegisters = 32;
  float32x4_t v;
};

inline Vec vec_set(float value) {
  return {vdupq_n_f32(value)};
}
inline Vec vec_zero() {
  return vec_set(0.0f);
}

// Byte loads, because the address may be unaligned for the element.
inline uint8x16_t load_bytes16(const void* p) {
  return vld1q_u8(static_cast<const uint8_t*>(p));
}
inline uint8x8_t load_bytes8(const void* p) {
  return vld1_u8(static_cast<const uint8_t*>(p));
}
inline Vec load_f32(const void* p) {
  return {vreinterpretq_f32_u8(load_bytes16(p))};
}
inline Vec load_bf16(const void* p) {
  return {vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(load_bytes8(p)), 16))};
}
inline Vec load_f16(const void* p) {
  return {vcvt_f32_f16(vreinterpret_f16_u8(load_bytes8(p)))};
}
inline Vec load_i8(const void* p) {
  std::uint32_t four = 0;
  __builtin_memcpy(&four, p, sizeof(four));
  const int8x8_t bytes = vreinterpret_s8_u32(vdup_n_u32(four));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))};
}
inline Vec load_i32(const void* p) {
  return {vcvtq_f32_s32(vreinterpretq_s32_u8(load_bytes16(p)))};
}
inline void store_f32(float* p, Vec a) {
  vst1q_f32(p, a.v);
}

inline Vec operator+(Vec a, Vec b) {
  return {vaddq_f32(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {vsubq_f32(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {vmulq_f32(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {vdivq_f32(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {vfmaq_f32(c.v, a.v, b.v)};
}
// Not vmaxq_f32, which returns NaN where either operand is one.
inline Vec vec_max(Vec a, Vec b) {
  return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)};
}
inline Vec vec_min(Vec a, Vec b) {
  return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)};
}

inline Vec scale_by_pow2(Vec a, Vec t) {
  const int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(t.v), vdupq_n_s32(0x4B400000));
  const int32x4_t half = vshrq_n_s32(n, 1);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t first = vshlq_n_s32(vaddq_s32(half, bias), 23);
  const int32x4_t second = vshlq_n_s32(vaddq_s32(vsubq_s32(n, half), bias), 23);
  const float32x4_t scaled = vmulq_f32(a.v, vreinterpretq_f32_s32(first));
  return {vmulq_f32(scaled, vreinterpretq_f32_s32(second))};
}

inline Vec scale_down_by_pow2(Vec a, Vec t, Vec x) {
  const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(t.v), 23);
  const uint32x4_t scaled = vaddq_u32(vreinterpretq_u32_f32(a.v), exponent);
  const uint32x4_t dropped = vcltq_f32(x.v, vdupq_n_f32(-100.0f));
  return {vreinterpretq_f32_u32(vbicq_u32(scaled, dropped))};
}

inline Vec vec_max_bits(Vec a, Vec b) {
  return {vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(a.v), vreinterpretq_u32_f32(b.v)))};
}
inline Vec first_lanes(Vec a, Vec b, std::size_t count) {
  const uint32_t index[4] = {0, 1, 2, 3};
  const uint32x4_t first = vcltq_u32(vld1q_u32(index), vdupq_n_u32(static_cast<uint32_t>(count)));
  return {vbslq_f32(first, a.v, b.v)};
}

inline float reduce_add(Vec a) {
  const float32x2_t two = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float reduce_max(Vec a) {
  const float32x2_t low = vget_low_f32(a.v);
  const float32x2_t high = vget_high_f32(a.v);
  const float32x2_t two = vbsl_f32(vcgt_f32(low, high), low, high);
  const float first = vget_lane_f32(two, 0);
  const float second = vget_lane_f32(two, 1);
  return first > second ? first : second;
}

// Adds lanes at distance 2 of two vectors: 2 lanes a, 2 lanes b.
inline float32x4_t add_halves(Vec a, Vec b) {
  return vaddq_f32(vcombine_f32(vget_low_f32(a.v), vget_low_f32(b.v)),
                   vcombine_f32(vget_high_f32(a.v), vget_high_f32(b.v)));
}
inline Vec reduce_add_each(const Vec (&rows)[Vec::kLanes]) {
  const float32x4_t first = add_halves(rows[0], rows[1]);
  const float32x4_t second = add_halves(rows[2], rows[3]);
  return {vaddq_f32(vuzp1q_f32(first, second), vuzp2q_f32(first, second))};
}

inline void prefetch(const void* p) {
  __builtin_prefetch(p);
}

}  // namespace
}  // namespace fptq::kernels
