// Rounds float32 to the fixed-point numbers that fixed_gemm multiplies, with a scale per row or per
// column.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/fixed_gemm/contract.h"

namespace fptq::kernels {

// A row or column v becomes q = round(v * (kFixedLimit / a)), ties to even, with a = max |v| and
// the scale a / kFixedLimit. Where a < 1e-30 the numbers are 0 and so is the scale; where v holds a
// NaN or an infinity, the numbers are 0 and the scale is NaN, so that every product of it is NaN.
//
// by_columns: neighbours in a column share a word, as sums over rows need them.
//   words   [rows / 2 padded to whole kFixedWords, cols padded to whole kFixedChannels]
//   scales  [cols]
// otherwise: neighbours in a row share a word, as sums over columns need them.
//   words   [rows, cols / 2 padded to whole kFixedWords]
//   scales  [rows]
// Padding is filled with zeros. Bits do not depend on the ISA.
struct FixedPackArgs {
  const float* x;        // [rows, cols], rows x_stride elements apart
  std::size_t x_stride;  // >= cols
  std::size_t rows;      // any
  std::size_t cols;      // any
  bool by_columns;
  std::int32_t* words;      // out, rows word_stride words apart
  std::size_t word_stride;  // at least the padded width
  float* scales;            // out
};

// Words that hold `numbers` numbers of a row or column, padded.
constexpr std::size_t fixed_words(std::size_t numbers) {
  return (numbers + 2 * kFixedWords - 1) / (2 * kFixedWords) * kFixedWords;
}
// Rows or columns, padded.
constexpr std::size_t fixed_channels(std::size_t count) {
  return (count + kFixedChannels - 1) / kFixedChannels * kFixedChannels;
}

using FixedPackFn = void (*)(const FixedPackArgs&);

#define FPTQ_FIXED_PACK(isa, symbol) void symbol(const FixedPackArgs& args);
#include "kernels/fixed_pack/variants.inc"
#undef FPTQ_FIXED_PACK

}  // namespace fptq::kernels
