// fixed_pack in vectors of the compiler's, 16 lanes that it cuts into what the variant's flags
// give: every operation is one of IEEE 754's on one lane, so that all variants have the same bits.

#pragma once

#include <cstdint>

#include "kernels/fixed_pack/contract.h"

namespace fptq::kernels {
namespace {

constexpr std::size_t kLanes = 16;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Integers = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using Shorts = std::int16_t __attribute__((vector_size(kLanes * sizeof(std::int16_t))));

// Adding it to |x| <= 2^22 leaves x, rounded to nearest with ties to even, in the low bits.
constexpr float kRoundingMagic = 0x1.8p23f;
constexpr std::int32_t kMagicBits = 0x4B400000;
constexpr float kLeastMagnitude = 1e-30f;

inline void load(const float* p, std::size_t count, Floats& out) {
  if (count >= kLanes) {
    __builtin_memcpy(&out, p, sizeof(out));
    return;
  }
  out = Floats{};
  for (std::size_t i = 0; i < count; ++i) out[i] = p[i];
}

// The largest magnitude so far; `finite` is 0 or, once a value was not finite, NaN.
inline void look_at(const Floats& x, Floats& absmax, Floats& finite) {
  const Floats magnitude = __builtin_bit_cast(Floats, __builtin_bit_cast(Integers, x) & 0x7FFFFFFF);
  absmax = magnitude > absmax ? magnitude : absmax;
  finite += x * 0.0f;
}

inline void round_to_fixed(const Floats& x, const Floats& inverse, Integers& out) {
  out = __builtin_bit_cast(Integers, x * inverse + kRoundingMagic) - kMagicBits;
}

// What values are multiplied with, 0 where numbers are to be 0; and the scale.
inline void choose_scale(float absmax, float finite, float* inverse, float* scale) {
  const auto limit = static_cast<float>(kFixedLimit);
  const bool usable = absmax >= kLeastMagnitude && finite == 0.0f;
  *inverse = usable ? limit / absmax : 0.0f;
  *scale = (usable ? absmax / limit : 0.0f) + finite;
}

// One row.
inline void pack_row(const FixedPackArgs& args, std::size_t row) {
  const float* x = args.x + row * args.x_stride;
  Floats absmax{};
  Floats finite{};
  Floats values;
  for (std::size_t i = 0; i < args.cols; i += kLanes) {
    load(x + i, args.cols - i, values);
    look_at(values, absmax, finite);
  }
  float largest = 0;
  float all_finite = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    largest = absmax[lane] > largest ? absmax[lane] : largest;
    all_finite += finite[lane];
  }
  float inverse = 0;
  choose_scale(largest, all_finite, &inverse, args.scales + row);
  auto* out = reinterpret_cast<unsigned char*>(args.words + row * args.word_stride);
  const std::size_t numbers = 2 * fixed_words(args.cols);
  const Floats inverses = Floats{} + inverse;
  for (std::size_t i = 0; i < numbers; i += kLanes) {
    Integers rounded{};
    if (i < args.cols && inverse != 0.0f) {
      load(x + i, args.cols - i, values);
      round_to_fixed(values, inverses, rounded);
    }
    const Shorts narrow = __builtin_convertvector(rounded, Shorts);
    __builtin_memcpy(out + i * sizeof(std::int16_t), &narrow, sizeof(narrow));
  }
}

// Up to kLanes columns from `col` on.
inline void pack_columns(const FixedPackArgs& args, std::size_t col) {
  const std::size_t count = args.cols - col < kLanes ? args.cols - col : kLanes;
  const float* x = args.x + col;
  Floats absmax{};
  Floats finite{};
  Floats values;
  for (std::size_t row = 0; row < args.rows; ++row) {
    load(x + row * args.x_stride, count, values);
    look_at(values, absmax, finite);
  }
  Floats inverses{};
  Integers used{};
  for (std::size_t lane = 0; lane < count; ++lane) {
    float inverse = 0;
    choose_scale(absmax[lane], finite[lane], &inverse, args.scales + col + lane);
    inverses[lane] = inverse;
    used[lane] = inverse != 0.0f ? -1 : 0;
  }
  const std::size_t words = fixed_words(args.rows);
  for (std::size_t w = 0; w < words; ++w) {
    Integers first{};
    Integers second{};
    if (2 * w < args.rows) {
      load(x + 2 * w * args.x_stride, count, values);
      round_to_fixed(values, inverses, first);
    }
    if (2 * w + 1 < args.rows) {
      load(x + (2 * w + 1) * args.x_stride, count, values);
      round_to_fixed(values, inverses, second);
    }
    const Integers word = ((first & 0xFFFF) | (second << 16)) & used;
    __builtin_memcpy(args.words + w * args.word_stride + col, &word, sizeof(word));
  }
}

void fixed_pack_body(const FixedPackArgs& args) {
  if (args.by_columns) {
    for (std::size_t col = 0; col < args.cols; col += kLanes) pack_columns(args, col);
  } else {
    for (std::size_t row = 0; row < args.rows; ++row) pack_row(args, row);
  }
}

}  // namespace
}  // namespace fptq::kernels
