// The 16 virtual lanes of every float reduction, made of Vec. Include a vec_<isa>.h before it.
//
// Lane l takes the elements i = l mod 16 in ascending order; then lane i is added to lane i + 8,
// i + 4, i + 2, i + 1. The order is the same whatever the width of a Vec, hence the same bits.

#pragma once

#include <cstddef>

#include "kernels/element_type.h"

namespace fptq::kernels {
namespace {

inline constexpr std::size_t kVirtualLanes = 16;
inline constexpr std::size_t kParts = kVirtualLanes / Vec::kLanes;

template <ElementType kType>
inline constexpr std::size_t kElementBytes = kType == ElementType::kF32  ? 4
                                             : kType == ElementType::kI8 ? 1
                                                                         : 2;

// The kLanes elements from p on, widened to float32.
template <ElementType kType>
inline Vec load_as(const void* p) {
  if constexpr (kType == ElementType::kF32) return load_f32(p);
  if constexpr (kType == ElementType::kBF16) return load_bf16(p);
  if constexpr (kType == ElementType::kF16) return load_f16(p);
  if constexpr (kType == ElementType::kI8) return load_i8(p);
}

// The address `elements` further on in an array of any alignment.
template <ElementType kType>
inline const void* advance(const void* p, std::size_t elements) {
  return static_cast<const unsigned char*>(p) + elements * kElementBytes<kType>;
}

struct F32x16 {
  Vec part[kParts];
};

inline F32x16 f32x16_zero() {
  F32x16 result;
  for (Vec& part : result.part) part = vec_zero();
  return result;
}

template <ElementType kType>
inline F32x16 load16(const void* p) {
  F32x16 result;
  for (std::size_t i = 0; i < kParts; ++i) {
    result.part[i] = load_as<kType>(advance<kType>(p, i * Vec::kLanes));
  }
  return result;
}

// The first `count` < 16 elements, zeros behind them. Reads nothing else.
template <ElementType kType>
inline F32x16 load16_partial(const void* p, std::size_t count) {
  unsigned char padded[kVirtualLanes * kElementBytes<kType>] = {};
  __builtin_memcpy(padded, p, count * kElementBytes<kType>);
  return load16<kType>(padded);
}

inline void store16(float* p, const F32x16& a) {
  for (std::size_t i = 0; i < kParts; ++i) store_f32(p + i * Vec::kLanes, a.part[i]);
}
inline void store16_partial(float* p, const F32x16& a, std::size_t count) {
  float padded[kVirtualLanes];
  store16(padded, a);
  __builtin_memcpy(p, padded, count * sizeof(float));
}

inline F32x16 fma16(const F32x16& a, const F32x16& b, const F32x16& c) {
  F32x16 result;
  for (std::size_t i = 0; i < kParts; ++i) result.part[i] = fma(a.part[i], b.part[i], c.part[i]);
  return result;
}

// Adds parts pairwise until one is left.
inline Vec add_parts(F32x16 a) {
  for (std::size_t half = kParts / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) a.part[i] = a.part[i] + a.part[i + half];
  }
  return a.part[0];
}

inline float reduce_add16(const F32x16& a) {
  return reduce_add(add_parts(a));
}

// totals[i] = reduce_add16 of row i of sums [count, 16]. Writes count rounded up to kLanes.
inline void reduce_add16_each(const float* sums, std::size_t count, float* totals) {
  for (std::size_t i = 0; i < count; i += Vec::kLanes) {
    Vec rows[Vec::kLanes];
    for (std::size_t r = 0; r < Vec::kLanes; ++r) {
      rows[r] = i + r < count ? add_parts(load16<ElementType::kF32>(sums + (i + r) * kVirtualLanes))
                              : vec_zero();
    }
    store_f32(totals + i, reduce_add_each(rows));
  }
}

}  // namespace
}  // namespace fptq::kernels
