// Vec without vector instructions: the definition that the other three have to match bit for bit.
//
// A Vec holds kLanes consecutive float32. Kernels are written once over it (body.h of each) and
// compiled per ISA. Everything here is in an anonymous namespace, so that the linker cannot pick
// a copy compiled for another CPU.

#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

struct Vec {
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kRegisters = 4;  // keeps register tiles of the bodies small
  float lane[kLanes];
};

template <typename Function>
inline Vec vec_generate(const Function& value) {
  Vec result;
  for (std::size_t i = 0; i < Vec::kLanes; ++i) result.lane[i] = value(i);
  return result;
}

template <typename To, typename From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

// Element i of an array of T at any address.
template <typename T>
inline T element(const void* p, std::size_t i) {
  T value;
  __builtin_memcpy(&value, static_cast<const unsigned char*>(p) + i * sizeof(T), sizeof(T));
  return value;
}

inline float widen_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0x1F) return bits_as<float>(sign | 0x7F800000U | mantissa << 13);
  if (exponent != 0) return bits_as<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;
  return bits_as<float>(sign | bits_as<std::uint32_t>(magnitude));
}

inline Vec vec_set(float value) {
  return vec_generate([&](std::size_t) { return value; });
}
inline Vec vec_zero() {
  return vec_set(0.0f);
}

// Loads take any address; 16- and 8-bit elements are widened exactly.
inline Vec load_f32(const void* p) {
  return vec_generate([&](std::size_t i) { return element<float>(p, i); });
}
inline Vec load_bf16(const void* p) {
  return vec_generate([&](std::size_t i) {
    return bits_as<float>(static_cast<std::uint32_t>(element<std::uint16_t>(p, i)) << 16);
  });
}
inline Vec load_f16(const void* p) {
  return vec_generate([&](std::size_t i) { return widen_f16(element<std::uint16_t>(p, i)); });
}
inline Vec load_i8(const void* p) {
  return vec_generate(
      [&](std::size_t i) { return static_cast<float>(element<std::int8_t>(p, i)); });
}
// int32 elements, rounded to nearest, ties to even.
inline Vec load_i32(const void* p) {
  return vec_generate(
      [&](std::size_t i) { return static_cast<float>(element<std::int32_t>(p, i)); });
}
inline void store_f32(float* p, Vec a) {
  for (std::size_t i = 0; i < Vec::kLanes; ++i) p[i] = a.lane[i];
}

inline Vec operator+(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) { return a.lane[i] + b.lane[i]; });
}
inline Vec operator-(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) { return a.lane[i] - b.lane[i]; });
}
inline Vec operator*(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) { return a.lane[i] * b.lane[i]; });
}
inline Vec operator/(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) { return a.lane[i] / b.lane[i]; });
}
// a * b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) {
  return vec_generate(
      [&](std::size_t i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
// a > b ? a : b and a < b ? a : b: the second operand where one is NaN.
inline Vec vec_max(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Vec vec_min(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}

// a * 2^n, where t = 1.5 * 2^23 + n holds n in its low bits; |n| <= 252. Two exact factors, so that
// results below the normal range round once and results above it become infinite.
inline Vec scale_by_pow2(Vec a, Vec t) {
  return vec_generate([&](std::size_t i) {
    const std::int32_t n = bits_as<std::int32_t>(t.lane[i]) - 0x4B400000;
    const std::int32_t half = n >> 1;
    const auto first = static_cast<std::uint32_t>(half + 127) << 23;
    const auto second = static_cast<std::uint32_t>(n - half + 127) << 23;
    return a.lane[i] * bits_as<float>(first) * bits_as<float>(second);
  });
}

// a * 2^n for 0.5 <= a < 2, where t = 1.5 * 2^23 + n holds n = x rounded to an integer; 0 where
// x < -100, NaN where x is NaN.
inline Vec scale_down_by_pow2(Vec a, Vec t, Vec x) {
  return vec_generate([&](std::size_t i) {
    if (x.lane[i] < -100.0f) return 0.0f;
    return bits_as<float>(bits_as<std::uint32_t>(a.lane[i]) +
                          (bits_as<std::uint32_t>(t.lane[i]) << 23));
  });
}

// The operand whose bits are the larger unsigned integer. For numbers >= +0 that is the larger
// one, and NaN is larger than all of them.
inline Vec vec_max_bits(Vec a, Vec b) {
  return vec_generate([&](std::size_t i) {
    return bits_as<std::uint32_t>(a.lane[i]) > bits_as<std::uint32_t>(b.lane[i]) ? a.lane[i]
                                                                                 : b.lane[i];
  });
}

// Lanes [0, count) of a, the others of b.
inline Vec first_lanes(Vec a, Vec b, std::size_t count) {
  return vec_generate([&](std::size_t i) { return i < count ? a.lane[i] : b.lane[i]; });
}

// The sum or maximum of all lanes by halving: lane i with lane i + kLanes / 2, and so on.
inline float reduce_add(Vec a) {
  for (std::size_t half = Vec::kLanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) a.lane[i] = a.lane[i] + a.lane[i + half];
  }
  return a.lane[0];
}
inline float reduce_max(Vec a) {
  for (std::size_t half = Vec::kLanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) {
      a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
    }
  }
  return a.lane[0];
}

// Lane i is reduce_add(rows[i]).
inline Vec reduce_add_each(const Vec (&rows)[Vec::kLanes]) {
  return vec_generate([&](std::size_t i) { return reduce_add(rows[i]); });
}

inline void prefetch(const void*) {}

}  // namespace
}  // namespace fptq::kernels
