// From float weights to codes: one function per rounding method.
//
// All of them fill a QuantizedMatrix (numeric/quantizer.h), so that whatever packs and stores
// codes does not know how they were chosen. A new method is a new enumerator, its name in
// rounding.cpp and a function here.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "numeric/quantizer.h"

namespace fptq::algo {

// How codes are chosen.
enum class Rounding : std::uint8_t {
  kNearest,  // nearest codes on the grid that covers a group's range
  kSearch,   // nearest codes on the best grid of a group (scale_search.h)
  kHqq,      // the same with half-quadratic grids (hqq.h); asymmetric only
  kGptq,     // errors are made good by the weights that follow (gptq.h); needs calibration data
};

// The name that --rounding and recipes use: "rtn", "search", "hqq", "gptq".
[[nodiscard]] std::string_view rounding_name(Rounding rounding);

// "rtn" -> Rounding::kNearest. Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<Rounding> parse_rounding(std::string_view name);

// What rounding did to the weights, in an order of summation that is the same on every machine
// and for every number of threads. Good to some 1e-5 relative: a diagnostic.
struct RoundingError {
  double squared_error = 0;   // sum of (w - w')^2, w' the dequantized weight
  double squared_weight = 0;  // sum of w^2
  double largest_error = 0;   // max |w - w'|, in weight units

  void add(const RoundingError& other);
  // squared_error / squared_weight; 0 for weights that are all zero and kept so.
  [[nodiscard]] double relative() const;
};

// An empty matrix of that form, to be filled by one of the functions below.
[[nodiscard]] QuantizedMatrix make_quantized_matrix(std::size_t rows, std::size_t cols,
                                                    const QuantArgs& args, DType scale_dtype);

// Rounds one row to the nearest codes: bit for bit what fptq::round_to_nearest() gives, in loops
// that a compiler turns into vector instructions.
//
//   weights  [cols]  finite
//   row      which row of `matrix` to fill: codes, scales and zero points
//   returns  the row's error
//
// Thread safety: different rows may be rounded at the same time.
RoundingError round_row_to_nearest(std::span<const float> weights, std::size_t row,
                                   QuantizedMatrix& matrix);

// codes[i] = round(values[i] / scale + zero_point), clamped: quantize_value() in lanes.
//   values, codes  [count]
RoundingError round_to_grid(const float* values, std::size_t count, const Grid& grid, int num_bits,
                            std::int8_t* codes);

// Rounds one row to the nearest codes of the grids that are in `matrix` already.
RoundingError round_row_on_grids(std::span<const float> weights, std::size_t row,
                                 QuantizedMatrix& matrix);

// The error of the codes that are in `matrix` already.
[[nodiscard]] RoundingError row_error(std::span<const float> weights, std::size_t row,
                                      const QuantizedMatrix& matrix);

}  // namespace fptq::algo
