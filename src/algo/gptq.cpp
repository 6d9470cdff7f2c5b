#include "algo/gptq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "algo/lanes.h"
#include "algo/matrix_products.h"
#include "algo/output_loss.h"
#include "algo/scale_refit.h"
#include "algo/scale_search.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// Columns whose errors are fed back one by one; between blocks a product does it.
constexpr std::size_t kBlock = 128;
// Columns after which the rest of a block is brought up to date.
constexpr std::size_t kSubBlock = 16;
// Rows are vector lanes here, kRowStep of them in registers.
constexpr std::size_t kRowStep = 16;

// Rounds the rows of a panel, all columns. Columns are counted in the factor's order.
//
// Where GPTQ as published subtracts a block's errors from all columns that follow, here a block
// first collects what all earlier errors mean for it: the same sums, but long ones.
class Panel {
 public:
  Panel(std::span<const float> weights, const InputFactor& factor, const MatrixProducts& products,
        QuantizedMatrix& matrix, std::size_t first_row, std::size_t rows)
      : weights_(weights),
        factor_(factor),
        products_(products),
        matrix_(matrix),
        first_row_(first_row),
        rows_(rows),
        lanes_((rows + kRowStep - 1) / kRowStep * kRowStep),
        error_stride_(matrix.cols + 16),
        errors_(rows * error_stride_),
        feedback_(rows * kBlock),
        columns_(kBlock * lanes_),
        scales_(matrix.groups() * lanes_, 1.0f),
        zero_points_(matrix.groups() * lanes_, 0.0f),
        squares_(lanes_) {
    const std::size_t groups = matrix.groups();
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t group = 0; group < groups; ++group) {
        const Grid grid = matrix.grid(first_row + r, group);
        scales_[group * lanes_ + r] = grid.scale;
        zero_points_[group * lanes_ + r] = static_cast<float>(grid.zero_point);
      }
    }
  }

  // Chooses the codes. losses[r] = sum_i e_i^2 of row r, [rows].
  void round(double* losses) {
    for (std::size_t first = 0; first < matrix_.cols; first += kBlock) {
      const std::size_t count = std::min(kBlock, matrix_.cols - first);
      gather(first, count);
      std::fill(squares_.begin(), squares_.end(), 0.0f);
      for (std::size_t begin = 0; begin < count; begin += kSubBlock) {
        const std::size_t end = std::min(count, begin + kSubBlock);
        for (std::size_t i = begin; i < end; ++i) {
          round_column(first, i);
          feed_back(first, i, i + 1, i + 1, end);
        }
        feed_back(first, begin, end, end, count);
      }
      for (std::size_t r = 0; r < rows_; ++r) {
        losses[r] += static_cast<double>(squares_[r]);
        float* out = errors_.data() + r * error_stride_ + first;
        for (std::size_t i = 0; i < count; ++i) out[i] = columns_[i * lanes_ + r];
      }
    }
  }

 private:
  [[nodiscard]] const float* factor_row(std::size_t i) const {
    return factor_.inverse_factor().data() + i * matrix_.cols;
  }

  // columns_[i, r] = w - sum_j e_j U[j, first + i] over all columns j < first.
  void gather(std::size_t first, std::size_t count) {
    const std::size_t cols = matrix_.cols;
    products_.multiply({errors_.data(), error_stride_}, {factor_row(first), cols},
                       {feedback_.data(), kBlock}, {rows_, count, first});
    const std::span<const std::uint32_t> order = factor_.order();
    for (std::size_t r = 0; r < rows_; ++r) {
      const float* row = weights_.data() + (first_row_ + r) * cols;
      const float* feedback = feedback_.data() + r * kBlock;
      for (std::size_t i = 0; i < count; ++i) {
        columns_[i * lanes_ + r] = row[order[first + i]] - feedback[i];
      }
    }
  }

  // Codes of column first + i, and in columns_[i] its errors.
  void round_column(std::size_t first, std::size_t i) {
    const std::size_t col = factor_.order()[first + i];
    const std::size_t group = col / matrix_.group_width();
    const float* scales = scales_.data() + group * lanes_;
    const float* zero_points = zero_points_.data() + group * lanes_;
    const float diagonal = factor_row(first + i)[first + i];
    const int bits = matrix_.args.num_bits;
    const FloatLanes lowest = FloatLanes{} + static_cast<float>(lowest_code(bits));
    const FloatLanes highest = FloatLanes{} + static_cast<float>(highest_code(bits));
    float* column = columns_.data() + i * lanes_;
    std::int8_t* codes = matrix_.codes.data() + first_row_ * matrix_.cols + col;
    for (std::size_t r = 0; r < lanes_; r += kLanes) {
      const FloatLanes weight = load_lanes(column + r);
      const FloatLanes scale = load_lanes(scales + r);
      const FloatLanes zero = load_lanes(zero_points + r);
      const FloatLanes code =
          round_to_integers(clamp_lanes(weight / scale + zero, lowest, highest));
      const FloatLanes error = (weight - (code - zero) * scale) / diagonal;
      store_lanes(column + r, error);
      store_lanes(&squares_[r], load_lanes(&squares_[r]) + error * error);
      for (std::size_t lane = 0; lane < kLanes && r + lane < rows_; ++lane) {
        codes[(r + lane) * matrix_.cols] = static_cast<std::int8_t>(code[lane]);
      }
    }
  }

  // columns_[j] -= e_i U[first + i, first + j] for i in [begin, end), j in [j_begin, j_end).
  void feed_back(std::size_t first, std::size_t begin, std::size_t end, std::size_t j_begin,
                 std::size_t j_end) {
    constexpr std::size_t kVectors = kRowStep / kLanes;
    for (std::size_t j = j_begin; j < j_end; ++j) {
      // Row first + j has the factor's column in its mirror image.
      const float* factors = factor_row(first + j) + first;
      for (std::size_t r = 0; r < lanes_; r += kRowStep) {
        float* column = columns_.data() + j * lanes_ + r;
        std::array<FloatLanes, kVectors> sum;
        for (std::size_t v = 0; v < kVectors; ++v) sum[v] = load_lanes(column + v * kLanes);
        for (std::size_t i = begin; i < end; ++i) {
          const float* error = columns_.data() + i * lanes_ + r;
          const float factor = factors[i];
          for (std::size_t v = 0; v < kVectors; ++v) {
            sum[v] -= load_lanes(error + v * kLanes) * factor;
          }
        }
        for (std::size_t v = 0; v < kVectors; ++v) store_lanes(column + v * kLanes, sum[v]);
      }
    }
  }

  std::span<const float> weights_;
  const InputFactor& factor_;
  const MatrixProducts& products_;
  QuantizedMatrix& matrix_;
  std::size_t first_row_;
  std::size_t rows_;
  std::size_t lanes_;  // rows_ in whole steps; those past the end are zeros
  std::size_t error_stride_;
  std::vector<float> errors_;       // [rows, K] of the columns rounded so far
  std::vector<float> feedback_;     // [rows, kBlock]
  std::vector<float> columns_;      // [kBlock, lanes] weights, then errors
  std::vector<float> scales_;       // [groups, lanes]
  std::vector<float> zero_points_;  // [groups, lanes]
  std::vector<float> squares_;      // [lanes] sum of e^2 in the block
};

Status check_sizes(std::span<const float> weights, const InputMoments& moments,
                   const InputFactor& factor, const QuantizedMatrix& matrix) {
  if (weights.size() == matrix.rows * matrix.cols && moments.width == matrix.cols &&
      factor.width() == matrix.cols) {
    return {};
  }
  return Error{Error::Kind::kInvalidArgument,
               "gptq: expected weights, moments and factor of " + std::to_string(matrix.rows) +
                   " x " + std::to_string(matrix.cols) + ", got " + std::to_string(weights.size()) +
                   " weights, moments of " + std::to_string(moments.width) + " and a factor of " +
                   std::to_string(factor.width()) + " inputs"};
}

Status check_finite(std::span<const float> weights, std::size_t cols) {
  const auto bad = std::find_if(weights.begin(), weights.end(),
                                [](float weight) { return !std::isfinite(weight); });
  if (bad == weights.end()) return {};
  const auto index = static_cast<std::size_t>(bad - weights.begin());
  return Error{Error::Kind::kInvalidArgument, "gptq: weight [" + std::to_string(index / cols) +
                                                  ", " + std::to_string(index % cols) +
                                                  "]: expected a finite number, got " +
                                                  std::to_string(*bad)};
}

// The grids of all rows, from the weights as they are.
void choose_grids(std::span<const float> weights, const InputMoments& moments,
                  const InputFactor& factor, GridChoice choice, ThreadPool& pool,
                  QuantizedMatrix& matrix) {
  const std::size_t cols = matrix.cols;
  std::vector<float> importance(cols);
  for (std::size_t i = 0; i < cols; ++i) {
    const float diagonal = factor.inverse_factor()[i * cols + i];
    const std::size_t col = choice == GridChoice::kFactor ? factor.order()[i] : i;
    importance[col] =
        choice == GridChoice::kFactor ? 1.0f / (diagonal * diagonal) : moments.gram[i * cols + i];
  }
  pool.parallel_for(matrix.rows, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::span<const float> values = weights.subspan(row * cols, cols);
      if (choice != GridChoice::kRange) {
        search_row_grids(values, importance, row, matrix);
      } else {
        round_row_to_nearest(values, row, matrix);
      }
    }
  });
}

// sum (w^ - w)^2 over dead columns, which the factor weighs as if their input were 1.
double dead_error(std::span<const float> weights, const InputFactor& factor, std::size_t row,
                  const QuantizedMatrix& matrix) {
  double total = 0;
  for (const std::uint32_t col : factor.dead_columns()) {
    const std::size_t index = row * matrix.cols + col;
    const Grid grid = matrix.grid(row, col / matrix.group_width());
    const double left = static_cast<double>(dequantize_value(matrix.codes[index], grid)) -
                        static_cast<double>(weights[index]);
    total += left * left;
  }
  return total;
}

// Chooses all codes. Returns what each row adds to L, sum_i e_i^2 = d^T (H + lambda I) d.
std::vector<double> round_columns(std::span<const float> weights, const InputFactor& factor,
                                  Isa isa, ThreadPool& pool, QuantizedMatrix& matrix) {
  const MatrixProducts products(isa);
  std::vector<double> losses(matrix.rows);
  pool.parallel_for(
      matrix.rows, panel_rows(matrix.rows, pool.threads()),
      [&](std::size_t begin, std::size_t end) {
        Panel(weights, factor, products, matrix, begin, end - begin).round(losses.data() + begin);
        for (std::size_t row = begin; row < end; ++row) {
          losses[row] = std::max(0.0, losses[row] - dead_error(weights, factor, row, matrix));
        }
      });
  return losses;
}

// Takes over the rows of `other` that lose less.
void keep_better_rows(const std::vector<double>& losses, const QuantizedMatrix& other,
                      const std::vector<double>& other_losses, QuantizedMatrix& matrix) {
  const std::size_t groups = matrix.groups();
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    if (!(other_losses[row] < losses[row])) continue;
    const auto copy = [&](const auto& from, auto& to, std::size_t width) {
      const auto first = static_cast<std::ptrdiff_t>(row * width);
      std::copy_n(from.begin() + first, width, to.begin() + first);
    };
    copy(other.codes, matrix.codes, matrix.cols);
    copy(other.scales, matrix.scales, groups);
    if (!matrix.args.symmetric) copy(other.zero_points, matrix.zero_points, groups);
  }
}

double sum_of(const std::vector<double>& losses) {
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace

Result<RoundingOutcome> round_gptq(std::span<const float> weights, const InputMoments& moments,
                                   const InputFactor& factor, const GptqOptions& options,
                                   ThreadPool& pool, QuantizedMatrix& matrix) {
  FPTQ_TRY_VOID(check_sizes(weights, moments, factor, matrix));
  FPTQ_TRY_VOID(check_finite(weights, matrix.cols));
  RoundingOutcome outcome;
  choose_grids(weights, moments, factor, options.grids, pool, matrix);
  outcome.first_loss = sum_of(round_columns(weights, factor, options.isa, pool, matrix));
  outcome.loss = outcome.first_loss;
  for (int i = 0; options.refit && i < options.alternations; ++i) {
    refit_scales(weights, moments, options.isa, pool, matrix);
    QuantizedMatrix again = matrix;
    round_columns(weights, factor, options.isa, pool, again);
    // Both losses by the same sums: those of the columns are float32's.
    keep_better_rows(row_losses(weights, moments, matrix, options.isa, pool), again,
                     row_losses(weights, moments, again, options.isa, pool), matrix);
  }
  if (options.refit) {
    outcome.loss = refit_scales(weights, moments, options.isa, pool, matrix).after;
  }
  if (options.descent_passes > 0) {
    outcome.loss =
        descend_codes(weights, moments, options.descent_passes, options.isa, pool, matrix).after;
    if (options.refit) {
      outcome.loss = refit_scales(weights, moments, options.isa, pool, matrix).after;
    }
  }
  return outcome;
}

}  // namespace fptq::algo
