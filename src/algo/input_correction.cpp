#include "algo/input_correction.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "algo/matrix_products.h"
#include "algo/output_loss.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// Columns that are multiplied at a time: the size of the triangles on the diagonal of U that are
// copied, because storage has both U and its mirror image.
constexpr std::size_t kBlock = 256;

using Floats = std::vector<float>;

// The moment of the shift with its rows in the factor's order: [K, K], row p is row order[p]. Empty
// where there is none.
Floats ordered_shift(const InputMoments& moments, std::span<const std::uint32_t> order,
                     ThreadPool& pool) {
  if (moments.shift.empty()) return {};
  const std::size_t width = moments.width;
  Floats ordered(width * width);
  pool.parallel_for(width, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      std::copy_n(moments.shift.data() + order[p] * width, width, ordered.data() + p * width);
    }
  });
  return ordered;
}

// Some rows of a matrix times U^T U.
class Panel {
 public:
  Panel(const InputFactor& factor, const MatrixProducts& products, std::size_t rows)
      : factor_{factor.inverse_factor().data(), factor.width()},
        products_(products),
        width_(factor.width()),
        stride_(factor.width() + 16),
        rows_(rows),
        x_(rows * stride_),
        y_(rows * stride_),
        partial_(rows * kBlock),
        triangle_(kBlock * kBlock) {}

  // [rows, K] what is multiplied, then the result; columns in the factor's order.
  [[nodiscard]] MatrixView<float> x() { return {x_.data(), stride_}; }

  // x becomes x U^T U.
  void multiply() {
    multiply_half(true, x_, y_);
    multiply_half(false, y_, x_);
  }

 private:
  // transposed: to[:, p] = sum_{q >= p} from[:, q] U[p, q]; else to[:, q] = sum_{p <= q} from[:, p]
  // U[p, q]. Row b of a block of storage holds both: U[b, k] at k >= b, U[k, b] at k <= b.
  void multiply_half(bool transposed, const Floats& from, Floats& to) {
    const MatrixView<const float> input{from.data(), stride_};
    for (std::size_t j = 0; j < width_; j += kBlock) {
      const std::size_t cols = std::min(kBlock, width_ - j);
      const std::size_t first = transposed ? j + cols : 0;
      const std::size_t depth = transposed ? width_ - first : j;
      const MatrixView<float> output{to.data() + j, stride_};
      products_.multiply(input.at(0, first), factor_.at(j, first), output, {rows_, cols, depth});
      for (std::size_t a = 0; a < cols; ++a) {
        for (std::size_t b = 0; b < cols; ++b) {
          const bool inside = transposed ? b >= a : b <= a;
          triangle_[a * kBlock + b] = inside ? factor_.row(j + a)[j + b] : 0.0f;
        }
      }
      products_.multiply(input.at(0, j), {triangle_.data(), kBlock}, {partial_.data(), kBlock},
                         {rows_, cols, cols});
      for (std::size_t r = 0; r < rows_; ++r) {
        for (std::size_t c = 0; c < cols; ++c) output.row(r)[c] += partial_[r * kBlock + c];
      }
    }
  }

  MatrixView<const float> factor_;
  const MatrixProducts& products_;
  std::size_t width_;
  std::size_t stride_;
  std::size_t rows_;
  Floats x_;
  Floats y_;
  Floats partial_;   // [rows, kBlock]
  Floats triangle_;  // [kBlock, kBlock]
};

}  // namespace

Result<std::vector<float>> corrected_weights(std::span<const float> weights,
                                             const InputMoments& moments, const InputFactor& factor,
                                             std::span<const float> output_moment,
                                             const CorrectionOptions& options, ThreadPool& pool) {
  const std::size_t width = factor.width();
  FPTQ_CHECK(moments.width == width && width > 0 && weights.size() % width == 0,
             "weights, moments and factor have the same inputs");
  FPTQ_CHECK(output_moment.empty() || output_moment.size() == weights.size(),
             "the output moment is [N, K]");
  std::vector<float> corrected(weights.begin(), weights.end());
  if (moments.shift.empty() && output_moment.empty()) return corrected;
  const std::size_t rows_in_all = weights.size() / width;
  const std::span<const std::uint32_t> order = factor.order();
  const MatrixProducts products(options.isa);
  const Floats shift = ordered_shift(moments, order, pool);
  const auto alpha = static_cast<float>(options.alpha);
  std::vector<bool> dead(width);
  for (const std::uint32_t col : factor.dead_columns()) dead[col] = true;

  const std::size_t grain = panel_rows(rows_in_all, pool.threads());
  pool.parallel_for(rows_in_all, grain, [&](std::size_t begin, std::size_t end) {
    const std::size_t rows = end - begin;
    Panel panel(factor, products, rows);
    const MatrixView<float> x = panel.x();
    // W D^T: its column p is W times row p of D.
    if (!shift.empty()) {
      products.multiply({weights.data() + begin * width, width}, {shift.data(), width}, x,
                        {rows, width, width});
    }
    for (std::size_t r = 0; r < rows && !output_moment.empty(); ++r) {
      const float* moment = output_moment.data() + (begin + r) * width;
      for (std::size_t p = 0; p < width; ++p) x.row(r)[p] += moment[order[p]];
    }
    panel.multiply();
    for (std::size_t r = 0; r < rows; ++r) {
      float* out = corrected.data() + (begin + r) * width;
      for (std::size_t p = 0; p < width; ++p) {
        if (!dead[order[p]]) out[order[p]] += alpha * x.row(r)[p];
      }
    }
  });
  const auto bad = std::find_if(corrected.begin(), corrected.end(),
                                [](float weight) { return !std::isfinite(weight); });
  if (bad == corrected.end()) return corrected;
  const auto index = static_cast<std::size_t>(bad - corrected.begin());
  return Error{Error::Kind::kInvalidArgument,
               "input correction: output channel " + std::to_string(index / width) +
                   ": expected finite weights, got " + std::to_string(*bad)};
}

}  // namespace fptq::algo
