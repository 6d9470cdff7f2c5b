#include "algo/rounding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "algo/lanes.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// {smallest, largest} of the values and 0. Neither depends on the order.
std::array<float, 2> range_with_zero(const float* values, std::size_t count) {
  FloatLanes low{};
  FloatLanes high{};
  for_each_lanes(values, count, [&](std::size_t, std::size_t, const FloatLanes& lanes) {
    low = lanes < low ? lanes : low;
    high = lanes > high ? lanes : high;
  });
  return {smallest(low), largest(high)};
}

// The error in weight units, taken one weight after the other.
RoundingError measure(const float* values, std::size_t count, const Grid& grid,
                      const std::int8_t* codes) {
  RoundingError error;
  for (std::size_t i = 0; i < count; ++i) {
    const auto weight = static_cast<double>(values[i]);
    const double difference = weight - static_cast<double>(dequantize_value(codes[i], grid));
    error.add({difference * difference, weight * weight, std::abs(difference)});
  }
  return error;
}

}  // namespace

std::string_view rounding_name(Rounding rounding) {
  switch (rounding) {
    case Rounding::kNearest:
      return "rtn";
    case Rounding::kSearch:
      return "search";
    case Rounding::kHqq:
      return "hqq";
    case Rounding::kGptq:
      return "gptq";
  }
  return "unknown";
}

Result<Rounding> parse_rounding(std::string_view name) {
  for (const Rounding rounding :
       {Rounding::kNearest, Rounding::kSearch, Rounding::kHqq, Rounding::kGptq}) {
    if (name == rounding_name(rounding)) return rounding;
  }
  return Error{Error::Kind::kInvalidArgument,
               "rounding \"" + std::string(name) + "\": expected rtn, search, hqq or gptq"};
}

void RoundingError::add(const RoundingError& other) {
  squared_error += other.squared_error;
  squared_weight += other.squared_weight;
  largest_error = std::max(largest_error, other.largest_error);
}

double RoundingError::relative() const {
  return squared_weight > 0 ? squared_error / squared_weight : 0.0;
}

QuantizedMatrix make_quantized_matrix(std::size_t rows, std::size_t cols, const QuantArgs& args,
                                      DType scale_dtype) {
  FPTQ_CHECK(args.type == CodeType::kInt, "a grid of integers");
  FPTQ_CHECK(args.strategy == Strategy::kChannel || args.strategy == Strategy::kGroup,
             "one scale per channel or group");
  QuantizedMatrix matrix{rows, cols, args, scale_dtype, {}, {}, {}};
  matrix.codes.resize(rows * cols);
  matrix.scales.resize(rows * matrix.groups());
  if (!args.symmetric) matrix.zero_points.resize(rows * matrix.groups());
  return matrix;
}

// The error is measured in steps of the grid, where it costs two operations per weight, and is
// exact to about 2^-24 * 2^num_bits steps.
RoundingError round_to_grid(const float* values, std::size_t count, const Grid& grid, int num_bits,
                            std::int8_t* codes) {
  const FloatLanes lowest = FloatLanes{} + static_cast<float>(lowest_code(num_bits));
  const FloatLanes highest = FloatLanes{} + static_cast<float>(highest_code(num_bits));
  const auto zero_point = static_cast<float>(grid.zero_point);
  FloatLanes squared_error{};
  FloatLanes squared_weight{};
  FloatLanes largest_error{};
  for_each_lanes(values, count, [&](std::size_t i, std::size_t n, const FloatLanes& lanes) {
    const FloatLanes steps = lanes / grid.scale;
    const FloatLanes position = steps + zero_point;
    const FloatLanes rounded = round_to_integers(clamp_lanes(position, lowest, highest));
    const CodeLanes narrow =
        __builtin_convertvector(__builtin_convertvector(rounded, IntLanes), CodeLanes);
    std::memcpy(codes + i, &narrow, n);
    const FloatLanes error = position - rounded;
    const FloatLanes size = error < 0.0f ? -error : error;
    squared_error += error * error;
    squared_weight += steps * steps;
    largest_error = size > largest_error ? size : largest_error;
  });
  const auto weight_steps = static_cast<double>(sum(squared_weight));
  // A range beyond what the scale's type can hold: steps overflow float32.
  if (!std::isfinite(weight_steps)) return measure(values, count, grid, codes);
  const auto scale = static_cast<double>(grid.scale);
  return RoundingError{static_cast<double>(sum(squared_error)) * scale * scale,
                       weight_steps * scale * scale,
                       static_cast<double>(largest(largest_error)) * scale};
}

RoundingError round_row_to_nearest(std::span<const float> weights, std::size_t row,
                                   QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.cols && row < matrix.rows, "one row of the matrix");
  const QuantArgs& args = matrix.args;
  const std::size_t width = matrix.group_width();
  const std::size_t groups = matrix.groups();
  RoundingError error;
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t begin = group * width;
    const std::size_t count = std::min(width, matrix.cols - begin);
    const float* values = weights.data() + begin;
    // The grid of a group depends on its range only.
    const Grid grid = minmax_grid(range_with_zero(values, count), args.num_bits, args.symmetric,
                                  matrix.scale_dtype);
    matrix.scales[row * groups + group] = grid.scale;
    if (!args.symmetric) {
      matrix.zero_points[row * groups + group] = static_cast<std::int8_t>(grid.zero_point);
    }
    error.add(round_to_grid(values, count, grid, args.num_bits,
                            matrix.codes.data() + row * matrix.cols + begin));
  }
  return error;
}

RoundingError round_row_on_grids(std::span<const float> weights, std::size_t row,
                                 QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.cols && row < matrix.rows, "one row of the matrix");
  const std::size_t width = matrix.group_width();
  RoundingError error;
  for (std::size_t begin = 0; begin < matrix.cols; begin += width) {
    error.add(round_to_grid(weights.data() + begin, std::min(width, matrix.cols - begin),
                            matrix.grid(row, begin / width), matrix.args.num_bits,
                            matrix.codes.data() + row * matrix.cols + begin));
  }
  return error;
}

RoundingError row_error(std::span<const float> weights, std::size_t row,
                        const QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.cols && row < matrix.rows, "one row of the matrix");
  const std::size_t width = matrix.group_width();
  RoundingError error;
  for (std::size_t begin = 0; begin < matrix.cols; begin += width) {
    error.add(measure(weights.data() + begin, std::min(width, matrix.cols - begin),
                      matrix.grid(row, begin / width),
                      matrix.codes.data() + row * matrix.cols + begin));
  }
  return error;
}

}  // namespace fptq::algo
