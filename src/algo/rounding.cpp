#include "algo/rounding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace fptq::algo {
namespace {

// Four values at once: what the smallest vector unit of both x86-64 and Arm holds. The lanes are
// spelled out, so that partial sums have the same order everywhere.
constexpr std::size_t kLanes = 4;
using FloatLanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using IntLanes = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using CodeLanes = std::int8_t __attribute__((vector_size(kLanes)));

// Adding it to |x| <= 2^22 leaves x, rounded to nearest with ties to even, in the low mantissa
// bits: its unit in the last place is 1. Only a compiler that reorders float operations could
// break this, and -ffp-contract=off without -ffast-math forbids it.
constexpr float kRoundingMagic = 0x1.8p23f;

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

float sum(const FloatLanes& lanes) {
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}
float smallest(const FloatLanes& lanes) {
  return std::min(std::min(lanes[0], lanes[1]), std::min(lanes[2], lanes[3]));
}
float largest(const FloatLanes& lanes) {
  return std::max(std::max(lanes[0], lanes[1]), std::max(lanes[2], lanes[3]));
}

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

// codes[i] = round(values[i] / scale + zero_point), clamped: quantize_value() in lanes.
// The error is measured in steps of the grid, where it costs two operations per weight, and is
// exact to about 2^-24 * 2^num_bits steps.
RoundingError round_values(const float* values, std::size_t count, const Grid& grid, int num_bits,
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
    FloatLanes clamped = position < lowest ? lowest : position;
    clamped = clamped > highest ? highest : clamped;
    const FloatLanes rounded = (clamped + kRoundingMagic) - kRoundingMagic;
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

}  // namespace

std::string_view rounding_name(Rounding rounding) {
  switch (rounding) {
    case Rounding::kNearest:
      return "rtn";
  }
  return "unknown";
}

Result<Rounding> parse_rounding(std::string_view name) {
  if (name == "rtn") return Rounding::kNearest;
  const std::string quoted = "rounding \"" + std::string(name) + "\"";
  if (name == "search" || name == "gptq") {
    return Error{Error::Kind::kUnsupported,
                 quoted +
                     ": expected rtn (round to nearest), the only method that this version "
                     "offers yet"};
  }
  return Error{Error::Kind::kInvalidArgument, quoted + ": expected rtn"};
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
    error.add(round_values(values, count, grid, args.num_bits,
                           matrix.codes.data() + row * matrix.cols + begin));
  }
  return error;
}

}  // namespace fptq::algo
