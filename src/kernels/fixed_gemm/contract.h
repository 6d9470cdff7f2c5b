// Matrix product of fixed-point numbers of 14 bits, exact until the very end: what calibration
// multiplies with, where float32 would be slower and no better.

#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {

// The largest magnitude of a number: 128 * 63 + 63, two signed digits of 7 bits.
inline constexpr std::int32_t kFixedLimit = 8127;
// Channels and words come in whole blocks of so many, padded with zeros.
inline constexpr std::size_t kFixedChannels = 16;
inline constexpr std::size_t kFixedWords = 32;
// At most so many words: sums of products of digits fit 32 bits.
inline constexpr std::size_t kFixedMostWords = std::size_t{1} << 16;

// y[i, j] = y0 + float(sum_k a[i, k] * b[j, k]) * a_scale[i] * b_scale[j], y0 = y[i, j] or 0.
//
// Two numbers that are neighbours in k are the halves of a word, the first one the lower half. Both
// ways in which words of `a` may lie are products without a transposition: activations times
// weights (a_word_stride = 1), and a sum of outer products over tokens (a_row_stride = 1).
//
// Bits: the sum is exact; it is rounded to float32 once, multiplied by a_scale and then by b_scale,
// and added. So the result depends neither on the ISA nor on how m and n are cut into calls.
// (NaNs: which one is unspecified.)
struct FixedGemmArgs {
  const std::int32_t* a;  // word w of row i is a[i * a_row_stride + w * a_word_stride]; where
                          // a_row_stride is 1, rows are padded to whole kFixedChannels
  std::size_t a_row_stride;
  std::size_t a_word_stride;  // 1, or a_row_stride is 1
  const std::int32_t* b;      // [words, n padded]: word w of channel j is b[w * b_stride + j]
  std::size_t b_stride;       // >= n padded to whole kFixedChannels
  const float* a_scale;       // [m]
  const float* b_scale;       // [n]
  float* y;                   // [m, n] rows y_stride elements apart; overlaps nothing else
  std::size_t y_stride;       // >= n
  bool accumulate;            // y0 is what y holds
  std::size_t m;              // any
  std::size_t n;              // any
  std::size_t words;          // half of k, a multiple of kFixedWords, 1 to kFixedMostWords
  void* scratch;              // [fixed_gemm_scratch_bytes(words)], 64-byte aligned, of this call
};

// Bytes of digits that a call keeps of `a`, where that holds a block of rows.
inline constexpr std::size_t kFixedDigitBytes = std::size_t{1} << 19;
// 16 rows of each operand as digits, 4 bytes a word, or the block above; and sums of a tile.
constexpr std::size_t fixed_gemm_scratch_bytes(std::size_t words) {
  const std::size_t panel = kFixedChannels * words * 4;
  return panel + (panel > kFixedDigitBytes ? panel : kFixedDigitBytes) + (std::size_t{1} << 16);
}

using FixedGemmFn = void (*)(const FixedGemmArgs&);

#define FPTQ_FIXED_GEMM(isa, symbol) void symbol(const FixedGemmArgs& args);
#include "kernels/fixed_gemm/variants.inc"
#undef FPTQ_FIXED_GEMM

}  // namespace fptq::kernels
