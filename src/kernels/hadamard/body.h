// hadamard, written once over Vec. Included by each variant after its vec_<isa>.h and
// lanes_<isa>.h.

#pragma once

#include "kernels/hadamard/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// 1 in lanes whose bit kDistance is clear, -1 in the others.
template <std::size_t kDistance>
inline Vec lane_signs() {
  float signs[Vec::kLanes];
  for (std::size_t i = 0; i < Vec::kLanes; ++i) signs[i] = (i & kDistance) == 0 ? 1.0f : -1.0f;
  return load_f32(signs);
}

// One round within a vector. Products with signs are exact, and b + a is a + b.
template <std::size_t kDistance>
inline Vec butterfly(Vec a) {
  return swap_lanes<kDistance>(a) + a * lane_signs<kDistance>();
}

// One round of 16 values.
template <std::size_t kDistance>
inline void butterfly16(F32x16& a) {
  if constexpr (kDistance < Vec::kLanes) {
    for (Vec& part : a.part) part = butterfly<kDistance>(part);
  } else {
    constexpr std::size_t kStep = kDistance / Vec::kLanes;
    for (std::size_t i = 0; i < kParts; ++i) {
      if ((i & kStep) != 0) continue;
      const Vec low = a.part[i];
      a.part[i] = low + a.part[i + kStep];
      a.part[i + kStep] = low - a.part[i + kStep];
    }
  }
}

template <bool kScales>
inline Vec scaled(Vec a, Vec scale) {
  if constexpr (kScales) return a * scale;
  return a;
}

// The rounds of distance 1, 2, 4 and 8; kScales: they are all.
template <bool kScales>
inline void first_rounds(float* x, std::size_t count, Vec scale) {
  for (std::size_t i = 0; i < count; i += kVirtualLanes) {
    F32x16 a = load16<ElementType::kF32>(x + i);
    butterfly16<1>(a);
    butterfly16<2>(a);
    butterfly16<4>(a);
    butterfly16<8>(a);
    for (Vec& part : a.part) part = scaled<kScales>(part, scale);
    store16(x + i, a);
  }
}

// The round of distance `half`, a multiple of 16; kScales: it is the last.
template <bool kScales>
inline void one_round(float* x, std::size_t count, std::size_t half, Vec scale) {
  for (std::size_t begin = 0; begin < count; begin += 2 * half) {
    float* const low = x + begin;
    float* const high = low + half;
    for (std::size_t i = 0; i < half; i += Vec::kLanes) {
      const Vec a = load_f32(low + i);
      const Vec b = load_f32(high + i);
      store_f32(low + i, scaled<kScales>(a + b, scale));
      store_f32(high + i, scaled<kScales>(a - b, scale));
    }
  }
}

// The rounds of distance `half` and 2 * half while the values are in registers.
template <bool kScales>
inline void two_rounds(float* x, std::size_t count, std::size_t half, Vec scale) {
  for (std::size_t begin = 0; begin < count; begin += 4 * half) {
    float* const row = x + begin;
    for (std::size_t i = 0; i < half; i += Vec::kLanes) {
      const Vec a = load_f32(row + i);
      const Vec b = load_f32(row + half + i);
      const Vec c = load_f32(row + 2 * half + i);
      const Vec d = load_f32(row + 3 * half + i);
      const Vec sum_ab = a + b;
      const Vec difference_ab = a - b;
      const Vec sum_cd = c + d;
      const Vec difference_cd = c - d;
      store_f32(row + i, scaled<kScales>(sum_ab + sum_cd, scale));
      store_f32(row + half + i, scaled<kScales>(difference_ab + difference_cd, scale));
      store_f32(row + 2 * half + i, scaled<kScales>(sum_ab - sum_cd, scale));
      store_f32(row + 3 * half + i, scaled<kScales>(difference_ab - difference_cd, scale));
    }
  }
}

// Blocks that are narrower than 16, value by value.
inline void small_blocks(const HadamardArgs& args) {
  for (std::size_t half = 1; half < args.block; half *= 2) {
    for (std::size_t begin = 0; begin < args.count; begin += 2 * half) {
      for (std::size_t i = begin; i < begin + half; ++i) {
        const float sum = args.x[i] + args.x[i + half];
        args.x[i + half] = args.x[i] - args.x[i + half];
        args.x[i] = sum;
      }
    }
  }
  for (std::size_t i = 0; i < args.count; ++i) args.x[i] *= args.scale;
}

void hadamard_body(const HadamardArgs& args) {
  if (args.block < kVirtualLanes) return small_blocks(args);
  const Vec scale = vec_set(args.scale);
  // A block at a time: it stays in the first-level cache for all rounds.
  for (std::size_t begin = 0; begin < args.count; begin += args.block) {
    float* const x = args.x + begin;
    if (args.block == kVirtualLanes) {
      first_rounds<true>(x, args.block, scale);
      continue;
    }
    first_rounds<false>(x, args.block, scale);
    std::size_t half = kVirtualLanes;
    for (; 4 * half < args.block; half *= 4) two_rounds<false>(x, args.block, half, scale);
    if (2 * half < args.block) {
      two_rounds<true>(x, args.block, half, scale);
    } else {
      one_round<true>(x, args.block, half, scale);
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
