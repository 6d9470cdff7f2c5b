// Loops over a few floats at a time, in plain C++ and the same order everywhere.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fptq::algo {

// Four values at once: what the smallest vector unit of both x86-64 and Arm holds. The lanes are
// spelled out, so that partial sums have the same order everywhere.
inline constexpr std::size_t kLanes = 4;
using FloatLanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using IntLanes = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using CodeLanes = std::int8_t __attribute__((vector_size(kLanes)));

// Adding it to |x| <= 2^22 leaves x, rounded to nearest with ties to even, in the low mantissa
// bits: its unit in the last place is 1. Only a compiler that reorders float operations could
// break this, and -ffp-contract=off without -ffast-math forbids it.
inline constexpr float kRoundingMagic = 0x1.8p23f;

// x rounded to an integer, |x| <= 2^22.
inline FloatLanes round_to_integers(const FloatLanes& x) {
  return (x + kRoundingMagic) - kRoundingMagic;
}

// Between lowest and highest, which are the same in every lane.
inline FloatLanes clamp_lanes(const FloatLanes& x, const FloatLanes& lowest,
                              const FloatLanes& highest) {
  const FloatLanes raised = x < lowest ? lowest : x;
  return raised > highest ? highest : raised;
}

inline FloatLanes load_lanes(const float* values) {
  FloatLanes lanes;
  std::memcpy(&lanes, values, sizeof(lanes));
  return lanes;
}
inline void store_lanes(float* values, const FloatLanes& lanes) {
  std::memcpy(values, &lanes, sizeof(lanes));
}

// Calls body(i, n, lanes) for i = 0, 4, 8, ... with lanes[j] = values[i + j] for j < n and 0
// for the rest of the last, shorter piece.
template <typename Body>
void for_each_lanes(const float* values, std::size_t count, const Body& body) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    FloatLanes lanes;
    std::memcpy(&lanes, values + i, sizeof(lanes));
    body(i, kLanes, lanes);
  }
  if (i == count) return;
  FloatLanes lanes{};
  std::memcpy(&lanes, values + i, (count - i) * sizeof(float));
  body(i, count - i, lanes);
}

inline float sum(const FloatLanes& lanes) {
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}
inline float smallest(const FloatLanes& lanes) {
  return std::min(std::min(lanes[0], lanes[1]), std::min(lanes[2], lanes[3]));
}
inline float largest(const FloatLanes& lanes) {
  return std::max(std::max(lanes[0], lanes[1]), std::max(lanes[2], lanes[3]));
}

}  // namespace fptq::algo
