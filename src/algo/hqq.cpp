#include "algo/hqq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "algo/lanes.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

constexpr float kNorm = 0.7f;
constexpr float kFirstBeta = 10.0f;
constexpr float kBetaGrowth = 1.01f;
constexpr int kIterations = 20;

// Powers of smaller numbers are those of this one.
constexpr float kLeastBase = 0x1.0p-100f;

IntLanes bits_of(const FloatLanes& lanes) {
  IntLanes bits;
  std::memcpy(&bits, &lanes, sizeof(bits));
  return bits;
}
FloatLanes from_bits(const IntLanes& bits) {
  FloatLanes lanes;
  std::memcpy(&lanes, &bits, sizeof(lanes));
  return lanes;
}

// x^exponent for finite x >= 0 and |exponent| <= 1, to about 1e-5 relative. The library's powf()
// would be more exact, and not the same on every machine.
FloatLanes power(const FloatLanes& x, float exponent) {
  const FloatLanes base = x < kLeastBase ? FloatLanes{} + kLeastBase : x;
  // base = 2^e m with m in [1, 2), and log2(m) = 2 / ln 2 * artanh(t), t = (m - 1) / (m + 1).
  const IntLanes bits = bits_of(base);
  const FloatLanes e = __builtin_convertvector((bits >> 23) - 127, FloatLanes);
  const FloatLanes m = from_bits((bits & 0x007FFFFF) | 0x3F800000);
  const FloatLanes t = (m - 1.0f) / (m + 1.0f);
  const FloatLanes t2 = t * t;
  const FloatLanes series =
      t * (1.0f + t2 * (1.0f / 3 + t2 * (1.0f / 5 + t2 * (1.0f / 7 + t2 * (1.0f / 9)))));
  const FloatLanes y = exponent * (e + 2.88539008f * series);
  // 2^y = 2^n 2^f, |f| <= 1/2, by the first terms of the exponential series in f ln 2.
  const FloatLanes n = round_to_integers(y);
  const FloatLanes f = (y - n) * 0.693147181f;
  const FloatLanes fraction =
      1.0f + f * (1.0f + f * (1.0f / 2 + f * (1.0f / 6 + f * (1.0f / 24 + f * (1.0f / 120)))));
  return fraction * from_bits((__builtin_convertvector(n, IntLanes) + 127) << 23);
}

FloatLanes magnitude(const FloatLanes& x) {
  return x < 0.0f ? -x : x;
}

// What one look at a group with a grid gives.
struct Step {
  float error = 0;     // sum |r|^p
  float shift = 0;     // sum of q - z - (x - e) / s
  float products = 0;  // sum (x - e) (q - z)
  float squares = 0;   // sum (q - z)^2
};

Step look(std::span<const float> values, const Grid& grid, int num_bits, float beta) {
  const FloatLanes lowest = FloatLanes{} + static_cast<float>(lowest_code(num_bits));
  const FloatLanes highest = FloatLanes{} + static_cast<float>(highest_code(num_bits));
  const auto zero = static_cast<float>(grid.zero_point);
  FloatLanes error{};
  FloatLanes shift{};
  FloatLanes products{};
  FloatLanes squares{};
  for_each_lanes(values.data(), values.size(), [&](std::size_t, std::size_t, const FloatLanes& x) {
    // Zeros behind the last value are exact on every grid and add nothing.
    const FloatLanes code =
        round_to_integers(clamp_lanes(x / grid.scale + zero, lowest, highest)) - zero;
    const FloatLanes left = x - code * grid.scale;
    const FloatLanes size = magnitude(left);
    const FloatLanes power_of_size = power(size, kNorm);
    error += size > 0.0f ? power_of_size : FloatLanes{};
    // |r|^(p - 1) = |r|^p / |r|
    const FloatLanes base = size < kLeastBase ? FloatLanes{} + kLeastBase : size;
    const FloatLanes shrunk = size - power_of_size / (base * beta);
    const FloatLanes positive = shrunk > 0.0f ? shrunk : FloatLanes{};
    const FloatLanes target = x - (left < 0.0f ? -positive : positive);
    shift += code - target / grid.scale;
    products += target * code;
    squares += code * code;
  });
  return {sum(error), sum(shift), sum(products), sum(squares)};
}

}  // namespace

Grid hqq_grid(std::span<const float> values, int num_bits, DType scale_dtype) {
  Grid grid = minmax_grid(values, num_bits, false, scale_dtype);
  Grid best = grid;
  float least = std::numeric_limits<float>::infinity();
  float beta = kFirstBeta;
  const auto lowest = static_cast<float>(lowest_code(num_bits));
  const auto highest = static_cast<float>(highest_code(num_bits));
  for (int iteration = 0; iteration <= kIterations; ++iteration) {
    const Step step = look(values, grid, num_bits, beta);
    if (step.error < least) {
      least = step.error;
      best = grid;
    }
    const float zero =
        static_cast<float>(grid.zero_point) + step.shift / static_cast<float>(values.size());
    const float scale = step.products / step.squares;
    if (!std::isfinite(zero) || !std::isfinite(scale) || !(scale > 0)) break;
    const Grid next{stored_scale(scale, scale_dtype),
                    static_cast<std::int32_t>(std::nearbyint(std::clamp(zero, lowest, highest)))};
    if (next.scale == grid.scale && next.zero_point == grid.zero_point) break;
    grid = next;
    beta *= kBetaGrowth;
  }
  return best;
}

RoundingError round_row_by_hqq(std::span<const float> weights, std::size_t row,
                               QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.cols && row < matrix.rows, "one row of the matrix");
  FPTQ_CHECK(!matrix.args.symmetric, "half-quadratic grids are asymmetric");
  const std::size_t width = matrix.group_width();
  const std::size_t groups = matrix.groups();
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t first = group * width;
    const Grid grid = hqq_grid(weights.subspan(first, std::min(width, matrix.cols - first)),
                               matrix.args.num_bits, matrix.scale_dtype);
    matrix.scales[row * groups + group] = grid.scale;
    matrix.zero_points[row * groups + group] = static_cast<std::int8_t>(grid.zero_point);
  }
  return round_row_on_grids(weights, row, matrix);
}

RoundingError round_rows_by_hqq(std::span<const float> weights, ThreadPool& pool,
                                QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.rows * matrix.cols, "weights are [rows, cols]");
  std::vector<RoundingError> errors(matrix.rows);
  pool.parallel_for(matrix.rows, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      errors[row] = round_row_by_hqq(weights.subspan(row * matrix.cols, matrix.cols), row, matrix);
    }
  });
  RoundingError error;
  for (const RoundingError& row : errors) error.add(row);
  return error;
}

}  // namespace fptq::algo
