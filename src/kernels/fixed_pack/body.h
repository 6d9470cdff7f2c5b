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

// Vectors of columns that are read together: rows are far apart in memory, and what is beside
// what was read is cheap.
constexpr std::size_t kStripVectors = 4;

// kVectors vectors of columns, or fewer columns where the matrix ends, from `col` on.
template <std::size_t kVectors>
void pack_columns(const FixedPackArgs& args, std::size_t col) {
  const std::size_t count = args.cols - col;
  const float* x = args.x + col;
  Floats absmax[kVectors]{};
  Floats finite[kVectors]{};
  Floats values;
  for (std::size_t row = 0; row < args.rows; ++row) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      load(x + row * args.x_stride + v * kLanes, count - v * kLanes, values);
      look_at(values, absmax[v], finite[v]);
    }
  }
  Floats inverses[kVectors]{};
  Integers used[kVectors]{};
  for (std::size_t v = 0; v < kVectors; ++v) {
    for (std::size_t lane = 0; lane < kLanes && v * kLanes + lane < count; ++lane) {
      float inverse = 0;
      choose_scale(absmax[v][lane], finite[v][lane], &inverse,
                   args.scales + col + v * kLanes + lane);
      inverses[v][lane] = inverse;
      used[v][lane] = inverse != 0.0f ? -1 : 0;
    }
  }
  const std::size_t words = fixed_words(args.rows);
  for (std::size_t w = 0; w < words; ++w) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      const float* first_row = x + 2 * w * args.x_stride + v * kLanes;
      Integers first{};
      Integers second{};
      if (2 * w < args.rows) {
        load(first_row, count - v * kLanes, values);
        round_to_fixed(values, inverses[v], first);
      }
      if (2 * w + 1 < args.rows) {
        load(first_row + args.x_stride, count - v * kLanes, values);
        round_to_fixed(values, inverses[v], second);
      }
      const Integers word = ((first & 0xFFFF) | (second << 16)) & used[v];
      __builtin_memcpy(args.words + w * args.word_stride + col + v * kLanes, &word, sizeof(word));
    }
  }
}

void fixed_pack_body(const FixedPackArgs& args) {
  if (args.by_columns) {
    std::size_t col = 0;
    for (; col + kStripVectors * kLanes <= args.cols; col += kStripVectors * kLanes) {
      pack_columns<kStripVectors>(args, col);
    }
    for (; col < args.cols; col += kLanes) pack_columns<1>(args, col);
  } else {
    for (std::size_t row = 0; row < args.rows; ++row) pack_row(args, row);
  }
}

}  // namespace
}  // namespace fptq::kernels
