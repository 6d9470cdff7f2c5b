#include "algo/scale_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "algo/lanes.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// Weights smaller than this are not worth a search, and dividing by them might overflow.
constexpr float kLeastMagnitude = 1e-30f;

// Up to here candidates are tried one by one; wider groups have smooth errors, and a coarse row of
// candidates leads to a fine one.
constexpr std::size_t kNarrowGroup = 64;

// sum w x u and sum w u^2 of codes u, zero point taken off.
struct CodeSums {
  float products = 0;
  float squares = 0;

  // The larger, the smaller the error with the best scale: sum w x^2 - gain().
  [[nodiscard]] float gain() const {
    return squares > 0 ? products * (products / squares) : -std::numeric_limits<float>::infinity();
  }
  [[nodiscard]] float best_scale() const { return products / squares; }
};

// One group, its values divided by their largest magnitude and its importance by the largest of
// it, padded with zeros to whole lanes.
class Group {
 public:
  Group(std::span<const float> values, std::span<const float> importance, const GridForm& form)
      : form_(form), size_((values.size() + kLanes - 1) / kLanes * kLanes), buffer_(3 * size_) {
    float largest_weight = 0;
    for (const float weight : importance) largest_weight = std::max(largest_weight, weight);
    const bool weighted = largest_weight > kLeastMagnitude;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::abs(values[i]) > std::abs(largest_)) largest_ = values[i];
      low_ = std::min(low_, values[i]);
      high_ = std::max(high_, values[i]);
    }
    magnitude_ = std::abs(largest_);
    if (!searchable()) return;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float weight = weighted ? importance[i] / largest_weight : 1.0f;
      buffer_[i] = values[i] / magnitude_;
      buffer_[size_ + i] = weight;
      buffer_[2 * size_ + i] = weight * buffer_[i];
    }
    low_ /= magnitude_;
    high_ /= magnitude_;
  }

  // The largest magnitude of a value, and that value's sign.
  [[nodiscard]] bool searchable() const {
    return magnitude_ >= kLeastMagnitude && std::isfinite(magnitude_);
  }
  [[nodiscard]] float sign() const { return largest_ < 0 ? -1.0f : 1.0f; }
  // The ends of the range after division, <= 0 and >= 0.
  [[nodiscard]] float low() const { return low_; }
  [[nodiscard]] float high() const { return high_; }

  // The codes nearest to x * steps + zero_point.
  [[nodiscard]] CodeSums sums(float steps, std::int32_t zero_point) const {
    const FloatLanes lowest = FloatLanes{} + static_cast<float>(lowest_code(form_.num_bits));
    const FloatLanes highest = FloatLanes{} + static_cast<float>(highest_code(form_.num_bits));
    const auto zero = static_cast<float>(zero_point);
    FloatLanes products{};
    FloatLanes squares{};
    for (std::size_t i = 0; i < size_; i += kLanes) {
      const FloatLanes position = load_lanes(&buffer_[i]) * steps + zero;
      const FloatLanes code = round_to_integers(clamp_lanes(position, lowest, highest)) - zero;
      products += load_lanes(&buffer_[2 * size_ + i]) * code;
      squares += load_lanes(&buffer_[size_ + i]) * (code * code);
    }
    return {sum(products), sum(squares)};
  }

  // sum w (x - deq)^2 with the nearest codes of a grid.
  [[nodiscard]] float error(const Grid& grid) const {
    const float scale = grid.scale / magnitude_;
    const FloatLanes lowest = FloatLanes{} + static_cast<float>(lowest_code(form_.num_bits));
    const FloatLanes highest = FloatLanes{} + static_cast<float>(highest_code(form_.num_bits));
    const auto zero = static_cast<float>(grid.zero_point);
    FloatLanes total{};
    for (std::size_t i = 0; i < size_; i += kLanes) {
      const FloatLanes x = load_lanes(&buffer_[i]);
      const FloatLanes code =
          round_to_integers(clamp_lanes(x / scale + zero, lowest, highest)) - zero;
      const FloatLanes left = x - code * scale;
      total += load_lanes(&buffer_[size_ + i]) * (left * left);
    }
    return sum(total);
  }

  // The grid as it is stored.
  [[nodiscard]] Grid stored(float scale, std::int32_t zero_point) const {
    return {stored_scale(scale * magnitude_, form_.scale_dtype), zero_point};
  }
  [[nodiscard]] float steps_of(const Grid& grid) const { return magnitude_ / grid.scale; }

 private:
  GridForm form_;
  std::size_t size_;
  std::vector<float> buffer_;  // x, w and w x, [size_] each
  float largest_ = 0;
  float magnitude_ = 0;
  float low_ = 0;
  float high_ = 0;
};

// The best candidate so far by CodeSums::gain().
struct Best {
  float gain = -std::numeric_limits<float>::infinity();
  float scale = 0;
  std::int32_t zero_point = 0;

  bool offer(const CodeSums& sums, std::int32_t zero) {
    if (!(sums.gain() > gain)) return false;
    *this = {sums.gain(), sums.best_scale(), zero};
    return true;
  }
};

// How fine the candidates are, in codes: 0.1 of 8 levels as llama.cpp has it, and finer parts of
// the range for more bits, where clipping costs more than rounding.
float level_step(int num_bits) {
  const float levels = static_cast<float>(-lowest_code(num_bits)) / 8;
  return 0.1f * levels / (num_bits > 4 ? 4 : 1);
}

Best search_symmetric(const Group& group, int num_bits, bool narrow) {
  const auto levels = static_cast<float>(-lowest_code(num_bits));
  const float step = level_step(num_bits);
  Best best;
  float best_offset = 0;
  // 1 / scale = -(levels + offset steps) / x_largest, where |x_largest| is 1 by now.
  const auto consider = [&](float offset) {
    if (best.offer(group.sums(-group.sign() * (levels + offset * step), 0), 0)) {
      best_offset = offset;
    }
  };
  if (narrow) {
    for (int offset = -9; offset <= 9; ++offset) consider(static_cast<float>(offset));
    return best;
  }
  for (int offset = -10; offset <= 80; offset += 5) consider(static_cast<float>(offset));
  const float center = best_offset;
  for (int offset = -4; offset <= 4; ++offset) {
    if (offset != 0) consider(center + static_cast<float>(offset));
  }
  return best;
}

Best search_asymmetric(const Group& group, int num_bits) {
  const auto lowest = static_cast<float>(lowest_code(num_bits));
  const auto highest = static_cast<float>(highest_code(num_bits));
  // How far an end moves inwards, as a part of it.
  float step = num_bits > 4 ? 0.0175f : 0.07f;
  Best best;
  std::array<float, 2> ends{};
  const auto consider = [&](float low_shrink, float high_shrink) {
    const float low = group.low() * (1 - low_shrink);
    const float high = group.high() * (1 - high_shrink);
    const float steps = (highest - lowest) / (high - low);
    const float zero = std::nearbyint(std::clamp(lowest - low * steps, lowest, highest));
    const auto zero_point = static_cast<std::int32_t>(zero);
    if (best.offer(group.sums(steps, zero_point), zero_point)) ends = {low_shrink, high_shrink};
  };
  // An end at 0 has nowhere to go.
  const int low_steps = group.low() < 0 ? 1 : 0;
  const int high_steps = group.high() > 0 ? 1 : 0;
  for (int i = 0; i <= 5 * low_steps; ++i) {
    for (int j = 0; j <= 5 * high_steps; ++j) {
      consider(step * static_cast<float>(i), step * static_cast<float>(j));
    }
  }
  for (int round = 0; round < 2; ++round) {
    step /= 2;
    const std::array<float, 2> center = ends;
    for (int i = -low_steps; i <= low_steps; ++i) {
      for (int j = -high_steps; j <= high_steps; ++j) {
        if (i == 0 && j == 0) continue;
        consider(center[0] + step * static_cast<float>(i),
                 center[1] + step * static_cast<float>(j));
      }
    }
  }
  return best;
}

}  // namespace

Grid search_grid(std::span<const float> values, std::span<const float> importance,
                 const GridForm& form) {
  FPTQ_CHECK(importance.empty() || importance.size() == values.size(), "an importance per weight");
  const Grid covering = minmax_grid(values, form.num_bits, form.symmetric, form.scale_dtype);
  const Group group(values, importance, form);
  if (!group.searchable()) return covering;
  const Best best = form.symmetric
                        ? search_symmetric(group, form.num_bits, values.size() <= kNarrowGroup)
                        : search_asymmetric(group, form.num_bits);
  Grid chosen = covering;
  float least = group.error(covering);
  if (!std::isfinite(best.scale) || best.scale == 0.0f) return chosen;
  // Codes that are nearest for the stored scale may have a better scale in turn.
  Grid candidate = group.stored(best.scale, best.zero_point);
  for (int round = 0; round < 3; ++round) {
    const float error = group.error(candidate);
    if (!(error < least)) break;
    least = error;
    chosen = candidate;
    const CodeSums sums = group.sums(group.steps_of(chosen), chosen.zero_point);
    if (!(sums.squares > 0) || sums.products == 0.0f) break;
    candidate = group.stored(sums.best_scale(), chosen.zero_point);
    if (candidate.scale == chosen.scale) break;
  }
  return chosen;
}

void search_row_grids(std::span<const float> weights, std::span<const float> importance,
                      std::size_t row, QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.cols && row < matrix.rows, "one row of the matrix");
  FPTQ_CHECK(importance.empty() || importance.size() == matrix.cols, "an importance per column");
  const GridForm form{matrix.args.num_bits, matrix.args.symmetric, matrix.scale_dtype};
  const std::size_t width = matrix.group_width();
  const std::size_t groups = matrix.groups();
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t begin = group * width;
    const std::size_t count = std::min(width, matrix.cols - begin);
    const Grid grid =
        search_grid(weights.subspan(begin, count),
                    importance.empty() ? importance : importance.subspan(begin, count), form);
    matrix.scales[row * groups + group] = grid.scale;
    if (!form.symmetric) {
      matrix.zero_points[row * groups + group] = static_cast<std::int8_t>(grid.zero_point);
    }
  }
}

RoundingError round_rows_by_search(std::span<const float> weights,
                                   std::span<const float> importance, ThreadPool& pool,
                                   QuantizedMatrix& matrix) {
  FPTQ_CHECK(weights.size() == matrix.rows * matrix.cols, "weights are [rows, cols]");
  std::vector<RoundingError> errors(matrix.rows);
  pool.parallel_for(matrix.rows, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::span<const float> values = weights.subspan(row * matrix.cols, matrix.cols);
      search_row_grids(values, importance, row, matrix);
      errors[row] = round_row_on_grids(values, row, matrix);
    }
  });
  RoundingError error;
  for (const RoundingError& row : errors) error.add(row);
  return error;
}

}  // namespace fptq::algo
