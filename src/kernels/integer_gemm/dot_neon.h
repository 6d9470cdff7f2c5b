// How sdot multiplies: 4 inputs of 4 channels with 4 inputs of one token.

#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

// The instructions of the inner loops are written as assembly, because gcc 12 keeps the indexed
// operand of sdot in half of the registers, and prepares the weights of a whole slab before it
// multiplies the first of them: both spill sums. Volatile assembly stays in the order written.

// An operand order of tile_neon.h. A sum vector is 4 channels of one token.
struct Dot {
  static constexpr std::size_t kTokens = 1;   // of a sum vector
  static constexpr std::size_t kVectors = 4;  // sum vectors of a block of 16 channels
  // Whether byte_weights() are as they are stored, 128 too large.
  static constexpr bool kBiasedBytes = false;

  // 16 inputs of the tokens of a sum vector, kTokens vectors.
  static void load_inputs(const std::int8_t* const (&rows)[kTokens], std::size_t at,
                          int8x16_t (&x)[kTokens]) {
    x[0] = vld1q_s8(rows[0] + at);
  }

  // Two quads of the same 4 channels, in the order that multiply() takes: part 0, part 1.
  static void arrange(uint8x16_t (&)[2]) {}

  // Which of the kTokens sum vectors of 4 channels a part belongs to.
  static constexpr std::size_t vector_of(std::size_t) { return 0; }

  // sum += a part of pair kPair of the quads of 16 inputs, times those inputs.
  template <int kPair, int kPart>
  static int32x4_t multiply(int32x4_t sum, int8x16_t w, const int8x16_t (&x)[kTokens]) {
    asm volatile("sdot %0.4s, %1.16b, %2.4b[%3]"
                 : "+w"(sum)
                 : "w"(w), "w"(x[0]), "i"(2 * kPair + kPart));
    return sum;
  }
  // Stored bytes as multiply() takes them.
  static int8x16_t byte_weights(uint8x16_t stored) {
    return vreinterpretq_s8_u8(veorq_u8(stored, vdupq_n_u8(0x80)));
  }

  // A number per channel, 4 of them, as the sum vectors of these channels have them.
  static void spread_channels(int32x4_t channels, int32x4_t (&vectors)[kTokens]) {
    vectors[0] = channels;
  }
  // A number per token.
  static int32x4_t spread_tokens(const std::int32_t (&tokens)[kTokens]) {
    return vdupq_n_s32(tokens[0]);
  }
  // The 4 channels of each token back.
  static void gather_channels(const float* vectors, float32x4_t (&tokens)[kTokens]) {
    tokens[0] = vld1q_f32(vectors);
  }
};

}  // namespace
}  // namespace fptq::kernels
