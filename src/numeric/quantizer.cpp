#include "numeric/quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace fptq {
namespace {

float round_to_dtype(float value, DType dtype) {
  if (dtype == DType::kF16) return f16_to_f32(f32_to_f16(value));
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  FPTQ_CHECK(dtype == DType::kF32, "scales are F32, F16 or BF16");
  return value;
}

// rint() of the current rounding mode, which is to nearest, ties to even. The clamp comes first,
// so that the conversion to an integer is always defined.
std::int32_t round_and_clamp(float value, std::int32_t lowest, std::int32_t highest) {
  return static_cast<std::int32_t>(
      std::nearbyint(std::clamp(value, static_cast<float>(lowest), static_cast<float>(highest))));
}

QuantizedRow zero_row(std::size_t size, float scale) {
  return QuantizedRow{scale, 0, std::vector<std::int8_t>(size, 0)};
}

}  // namespace

float stored_scale(float exact, DType scale_dtype) {
  const float scale = round_to_dtype(exact, scale_dtype);
  // A range beyond the type's largest number is clipped to it rather than becoming infinite.
  if (std::isinf(scale)) {
    return std::copysign(scale_dtype == DType::kF16 ? 65504.0f : 0x1.FEp127f, scale);
  }
  return scale == 0.0f ? kEmptyScale : scale;
}

Grid minmax_grid(std::span<const float> values, int num_bits, bool symmetric, DType scale_dtype) {
  float smallest = 0.0f;
  float largest = 0.0f;
  for (const float value : values) {
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
  }
  const auto steps = static_cast<float>((1 << num_bits) - 1);
  // compressed-tensors divides the largest magnitude by half the number of steps: 7.5 or 127.5.
  const float exact =
      symmetric ? std::max(-smallest, largest) / (steps / 2) : (largest - smallest) / steps;
  const float scale = stored_scale(exact, scale_dtype);
  if (symmetric) return Grid{scale, 0};
  const float zero_point = static_cast<float>(lowest_code(num_bits)) - smallest / scale;
  return Grid{scale, round_and_clamp(zero_point, lowest_code(num_bits), highest_code(num_bits))};
}

std::int32_t quantize_value(float x, const Grid& grid, int num_bits) {
  return round_and_clamp(x / grid.scale + static_cast<float>(grid.zero_point),
                         lowest_code(num_bits), highest_code(num_bits));
}

std::size_t QuantizedMatrix::group_width() const {
  return args.strategy == Strategy::kGroup ? args.group_size : cols;
}

std::size_t QuantizedMatrix::groups() const {
  return cols == 0 ? 0 : (cols + group_width() - 1) / group_width();
}

Grid QuantizedMatrix::grid(std::size_t row, std::size_t group) const {
  const std::size_t index = row * groups() + group;
  return Grid{scales[index], zero_points.empty() ? 0 : zero_points[index]};
}

QuantizedMatrix round_to_nearest(std::span<const float> weights, std::size_t rows, std::size_t cols,
                                 const QuantArgs& args, DType scale_dtype) {
  FPTQ_CHECK(weights.size() == rows * cols, "weights are [rows, cols]");
  FPTQ_CHECK(args.type == CodeType::kInt, "a grid of integers");
  FPTQ_CHECK(args.strategy == Strategy::kChannel || args.strategy == Strategy::kGroup,
             "one scale per channel or group");
  QuantizedMatrix matrix{rows, cols, args, scale_dtype, {}, {}, {}};
  const std::size_t groups = matrix.groups();
  const std::size_t width = matrix.group_width();
  matrix.codes.resize(rows * cols);
  matrix.scales.resize(rows * groups);
  if (!args.symmetric) matrix.zero_points.resize(rows * groups);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t begin = group * width;
      const std::size_t count = std::min(width, cols - begin);
      const std::span<const float> values = weights.subspan(row * cols + begin, count);
      const Grid grid = minmax_grid(values, args.num_bits, args.symmetric, scale_dtype);
      matrix.scales[row * groups + group] = grid.scale;
      if (!args.symmetric) {
        matrix.zero_points[row * groups + group] = static_cast<std::int8_t>(grid.zero_point);
      }
      for (std::size_t i = 0; i < count; ++i) {
        matrix.codes[row * cols + begin + i] =
            static_cast<std::int8_t>(quantize_value(values[i], grid, args.num_bits));
      }
    }
  }
  return matrix;
}

std::vector<float> dequantize(const QuantizedMatrix& matrix) {
  std::vector<float> values(matrix.rows * matrix.cols);
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    for (std::size_t col = 0; col < matrix.cols; ++col) {
      const std::size_t index = row * matrix.cols + col;
      values[index] =
          dequantize_value(matrix.codes[index], matrix.grid(row, col / matrix.group_width()));
    }
  }
  return values;
}

QuantizedRow quantize_row_dynamic(std::span<const float> row, bool symmetric) {
  float smallest = 0.0f;
  float largest = 0.0f;
  bool finite = true;
  for (const float value : row) {
    finite = finite && std::isfinite(value);
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
  }
  if (!finite) return zero_row(row.size(), std::numeric_limits<float>::quiet_NaN());
  const float absmax = std::max(-smallest, largest);
  if (absmax < kTinyActivation) return zero_row(row.size(), kEmptyScale);

  QuantizedRow result = zero_row(row.size(), 0.0f);
  if (symmetric) {
    result.scale = absmax / 127.0f;
    const float inverse = 127.0f / absmax;
    for (std::size_t k = 0; k < row.size(); ++k) {
      result.codes[k] = static_cast<std::int8_t>(round_and_clamp(row[k] * inverse, -127, 127));
    }
    return result;
  }
  const float range = largest - smallest;
  if (std::isinf(range)) return zero_row(row.size(), std::numeric_limits<float>::quiet_NaN());
  result.scale = range / 255.0f;
  const float inverse = 255.0f / range;
  result.zero_point = round_and_clamp(-128.0f - smallest * inverse, -128, 127);
  for (std::size_t k = 0; k < row.size(); ++k) {
    const float code = std::nearbyint(row[k] * inverse) + static_cast<float>(result.zero_point);
    result.codes[k] = static_cast<std::int8_t>(round_and_clamp(code, -128, 127));
  }
  return result;
}

float static_symmetric_scale(float absmax) {
  const float scale = absmax / 127.0f;
  return std::isnormal(scale) && std::isfinite(1.0f / scale) ? scale : kEmptyScale;
}

QuantizedRow quantize_row_static(std::span<const float> row, const Grid& grid, bool symmetric) {
  const bool finite = std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
  if (!finite) return zero_row(row.size(), std::numeric_limits<float>::quiet_NaN());
  QuantizedRow result = zero_row(row.size(), grid.scale);
  result.zero_point = grid.zero_point;
  const float inverse = 1.0f / grid.scale;
  for (std::size_t k = 0; k < row.size(); ++k) {
    const float code = std::nearbyint(row[k] * inverse) + static_cast<float>(grid.zero_point);
    result.codes[k] = static_cast<std::int8_t>(round_and_clamp(code, symmetric ? -127 : -128, 127));
  }
  return result;
}

}  // namespace fptq
