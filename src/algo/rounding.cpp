#include "algo/rounding.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace fptq::algo {
namespace {

// Independent partial results, so that the loops below have no chain of dependent operations and
// map to vector registers of every width.
constexpr std::size_t kLanes = 16;
constexpr std::size_t kErrorLanes = 8;

// Adding it to |x| <= 2^22 leaves x, rounded to nearest with ties to even, in the low mantissa
// bits: its unit in the last place is 1. Only a compiler that reorders float operations could
// break this, and -ffp-contract=off without -ffast-math forbids it.
constexpr float kRoundingMagic = 0x1.8p23f;

struct Range {
  float smallest;
  float largest;
};

// The range of the values and 0. Minimum and maximum do not depend on the order.
Range range_with_zero(const float* values, std::size_t count) {
  std::array<float, kLanes> smallest{};
  std::array<float, kLanes> largest{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      smallest[lane] = value < smallest[lane] ? value : smallest[lane];
      largest[lane] = value > largest[lane] ? value : largest[lane];
    }
  }
  for (std::size_t lane = 0; i < count; ++i, ++lane) {
    smallest[lane] = std::min(smallest[lane], values[i]);
    largest[lane] = std::max(largest[lane], values[i]);
  }
  return Range{*std::min_element(smallest.begin(), smallest.end()),
               *std::max_element(largest.begin(), largest.end())};
}

// codes[i] = round(values[i] / scale + zero_point), clamped: quantize_value() in a loop.
void round_values(const float* values, std::size_t count, const Grid& grid, int num_bits,
                  std::int8_t* codes) {
  const auto lowest = static_cast<float>(lowest_code(num_bits));
  const auto highest = static_cast<float>(highest_code(num_bits));
  const auto zero_point = static_cast<float>(grid.zero_point);
  const auto magic_bits = std::bit_cast<std::int32_t>(kRoundingMagic);
  for (std::size_t i = 0; i < count; ++i) {
    float position = values[i] / grid.scale + zero_point;
    position = position < lowest ? lowest : position;
    position = position > highest ? highest : position;
    codes[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(position + kRoundingMagic) -
                                        magic_bits);
  }
}

struct ErrorLanes {
  std::array<double, kErrorLanes> squared_error{};
  std::array<double, kErrorLanes> squared_weight{};
  std::array<double, kErrorLanes> largest_error{};

  void add(double weight, double kept, std::size_t lane) {
    const double error = weight - kept;
    const double size = error < 0 ? -error : error;
    squared_error[lane] += error * error;
    squared_weight[lane] += weight * weight;
    largest_error[lane] = size > largest_error[lane] ? size : largest_error[lane];
  }
};

void measure(const float* values, const std::int8_t* codes, std::size_t count, const Grid& grid,
             ErrorLanes& lanes) {
  const auto kept = [&](std::size_t i) {
    return static_cast<double>(static_cast<float>(codes[i] - grid.zero_point) * grid.scale);
  };
  std::size_t i = 0;
  for (; i + kErrorLanes <= count; i += kErrorLanes) {
    for (std::size_t lane = 0; lane < kErrorLanes; ++lane) {
      lanes.add(static_cast<double>(values[i + lane]), kept(i + lane), lane);
    }
  }
  for (std::size_t lane = 0; i < count; ++i, ++lane) {
    lanes.add(static_cast<double>(values[i]), kept(i), lane);
  }
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
                 quoted + ": this version offers rtn (round to nearest) only"};
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
  ErrorLanes lanes;
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t begin = group * width;
    const std::size_t count = std::min(width, matrix.cols - begin);
    const float* values = weights.data() + begin;
    const Range range = range_with_zero(values, count);
    const std::array<float, 2> ends = {range.smallest, range.largest};
    const Grid grid = minmax_grid(ends, args.num_bits, args.symmetric, matrix.scale_dtype);
    matrix.scales[row * groups + group] = grid.scale;
    if (!args.symmetric) {
      matrix.zero_points[row * groups + group] = static_cast<std::int8_t>(grid.zero_point);
    }
    std::int8_t* codes = matrix.codes.data() + row * matrix.cols + begin;
    round_values(values, count, grid, args.num_bits, codes);
    measure(values, codes, count, grid, lanes);
  }
  RoundingError error;
  for (std::size_t lane = 0; lane < kErrorLanes; ++lane) {
    error.add({lanes.squared_error[lane], lanes.squared_weight[lane], lanes.largest_error[lane]});
  }
  return error;
}

}  // namespace fptq::algo
