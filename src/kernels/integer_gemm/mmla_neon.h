// How smmla multiplies: 8 inputs of 2 channels with 8 inputs of 2 tokens.

#pragma once

#include "kernels/integer_gemm/dot_neon.h"

namespace fptq::kernels {
namespace {

// sdot where usdot exists, too: stored bytes need not become signed.
struct MixedDot : Dot {
  static constexpr bool kBiasedBytes = true;

  static uint8x16_t byte_weights(uint8x16_t stored) { return stored; }

  template <int kPair, int kPart>
  static int32x4_t multiply(int32x4_t sum, uint8x16_t w, const int8x16_t (&x)[kTokens]) {
    asm volatile("usdot %0.4s, %1.16b, %2.4b[%3]"
                 : "+w"(sum)
                 : "w"(w), "w"(x[0]), "i"(2 * kPair + kPart));
    return sum;
  }
};

// An operand order of tile_neon.h. A sum vector is 2 channels of 2 tokens: channel 0 of both
// tokens, then channel 1.
struct Mmla {
  static constexpr std::size_t kTokens = 2;
  static constexpr std::size_t kVectors = 8;
  static constexpr bool kBiasedBytes = true;

  // Inputs 0 to 7 of both tokens, then 8 to 15.
  static void load_inputs(const std::int8_t* const (&rows)[kTokens], std::size_t at,
                          int8x16_t (&x)[kTokens]) {
    const int64x2_t first = vreinterpretq_s64_s8(vld1q_s8(rows[0] + at));
    const int64x2_t second = vreinterpretq_s64_s8(vld1q_s8(rows[1] + at));
    x[0] = vreinterpretq_s8_s64(vzip1q_s64(first, second));
    x[1] = vreinterpretq_s8_s64(vzip2q_s64(first, second));
  }

  // Two quads of 4 channels become 8 inputs of channels 0 and 1, and of channels 2 and 3.
  static void arrange(uint8x16_t (&quads)[2]) {
    const uint32x4_t a = vreinterpretq_u32_u8(quads[0]);
    const uint32x4_t b = vreinterpretq_u32_u8(quads[1]);
    quads[0] = vreinterpretq_u8_u32(vzip1q_u32(a, b));
    quads[1] = vreinterpretq_u8_u32(vzip2q_u32(a, b));
  }

  static constexpr std::size_t vector_of(std::size_t part) { return part; }

  template <int kPair, int>
  static int32x4_t multiply(int32x4_t sum, int8x16_t w, const int8x16_t (&x)[kTokens]) {
    asm volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(x[kPair]));
    return sum;
  }
  template <int kPair, int>
  static int32x4_t multiply(int32x4_t sum, uint8x16_t w, const int8x16_t (&x)[kTokens]) {
    asm volatile("usmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(x[kPair]));
    return sum;
  }
  static uint8x16_t byte_weights(uint8x16_t stored) { return stored; }

  static void spread_channels(int32x4_t channels, int32x4_t (&vectors)[kTokens]) {
    vectors[0] = vzip1q_s32(channels, channels);
    vectors[1] = vzip2q_s32(channels, channels);
  }
  static int32x4_t spread_tokens(const std::int32_t (&tokens)[kTokens]) {
    const int32x2_t pair = vld1_s32(tokens);
    return vcombine_s32(pair, pair);
  }
  static void gather_channels(const float* vectors, float32x4_t (&tokens)[kTokens]) {
    const float32x4_t first = vld1q_f32(vectors);
    const float32x4_t second = vld1q_f32(vectors + 4);
    tokens[0] = vuzp1q_f32(first, second);
    tokens[1] = vuzp2q_f32(first, second);
  }
};

}  // namespace
}  // namespace fptq::kernels
