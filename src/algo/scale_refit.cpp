#include "algo/scale_refit.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "algo/lanes.h"
#include "algo/matrix_products.h"
#include "algo/output_loss.h"
#include "algo/triangular.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// Columns that are multiplied at a time.
constexpr std::size_t kBlock = 512;
// Columns of a group that sums in float32 go over.
constexpr std::size_t kDepth = 128;
// What a thread may keep of the matrices A, [groups, groups] for each of its rows.
constexpr std::size_t kMostSystemFloats = std::size_t{8} << 20;
// Added to A's diagonal, times its mean: A comes from float32 sums.
constexpr double kRidge = 1e-6;
// A row is changed where its loss falls by more than this part, which rounding can not feign.
constexpr double kLeastGain = 1e-6;

using DoubleLanes = double __attribute__((vector_size(kLanes * sizeof(double))));

// sum a_i b_i in double, lane by lane.
double dot(const float* a, const float* b, std::size_t count) {
  DoubleLanes total{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    total += __builtin_convertvector(load_lanes(a + i), DoubleLanes) *
             __builtin_convertvector(load_lanes(b + i), DoubleLanes);
  }
  double all = (total[0] + total[1]) + (total[2] + total[3]);
  for (; i < count; ++i) all += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return all;
}

// The quadratic form of one row: a change t of its scales changes L by 2 t^T b + t^T A t.
struct RowSystem {
  std::size_t groups;
  const float* a;   // [groups, groups], upper triangle
  const double* b;  // [groups]
  DType scale_dtype;
  bool keep_sign;  // scales stay positive
};

// A t
void multiply_system(const RowSystem& system, const std::vector<double>& t,
                     std::vector<double>& out) {
  std::fill(out.begin(), out.end(), 0.0);
  for (std::size_t g = 0; g < system.groups; ++g) {
    const float* row = system.a + g * system.groups;
    double total = static_cast<double>(row[g]) * t[g];
    for (std::size_t h = g + 1; h < system.groups; ++h) {
      const auto value = static_cast<double>(row[h]);
      total += value * t[h];
      out[h] += value * t[g];
    }
    out[g] += total;
  }
}

// Scales of one row: chooses them anew, and says by how much L falls.
class RowRefit {
 public:
  RowRefit(std::size_t groups, const MatrixProducts& products)
      : products_(products),
        factor_(groups * groups),
        change_(groups),
        product_(groups),
        fitted_(groups) {}

  // scales [groups] in, out. Returns the change of L, <= 0.
  double run(const RowSystem& system, float* scales) {
    const std::size_t groups = system.groups;
    double gain = 0;
    std::copy_n(scales, groups, fitted_.begin());
    if (solve(system)) {
      for (std::size_t g = 0; g < groups; ++g) {
        fitted_[g] = moved(system, scales[g], static_cast<double>(scales[g]) + change_[g]);
        change_[g] = static_cast<double>(fitted_[g]) - static_cast<double>(scales[g]);
      }
      multiply_system(system, change_, product_);
      for (std::size_t g = 0; g < groups; ++g) {
        gain += change_[g] * (2 * system.b[g] + product_[g]);
      }
    }
    if (!(gain < 0)) {
      gain = 0;
      std::copy_n(scales, groups, fitted_.begin());
      std::fill(product_.begin(), product_.end(), 0.0);
    }
    gain += descend(system);
    std::copy(fitted_.begin(), fitted_.end(), scales);
    return gain;
  }

 private:
  // change_ = -(A + ridge)^-1 b. False where there is no such solution.
  bool solve(const RowSystem& system) {
    const std::size_t groups = system.groups;
    double trace = 0;
    for (std::size_t g = 0; g < groups; ++g) {
      trace += static_cast<double>(system.a[g * groups + g]);
    }
    const double ridge = kRidge * trace / static_cast<double>(groups);
    if (!(ridge > 0) || !std::isfinite(ridge)) return false;
    for (std::size_t g = 0; g < groups; ++g) {
      double* row = factor_.data() + g * groups;
      std::fill_n(row, g, 0.0);
      for (std::size_t h = g; h < groups; ++h) {
        row[h] = static_cast<double>(system.a[g * groups + h]);
      }
      row[g] += ridge;
    }
    const MatrixView<double> v{factor_.data(), groups};
    if (!factor_upper(v, groups, products_, serial_)) return false;
    // V^T y = -b from the first down, V change = y from the last up.
    for (std::size_t g = 0; g < groups; ++g) change_[g] = -system.b[g];
    for (std::size_t g = 0; g < groups; ++g) {
      const double* row = v.row(g);
      change_[g] /= row[g];
      for (std::size_t h = g + 1; h < groups; ++h) change_[h] -= row[h] * change_[g];
    }
    for (std::size_t g = groups; g-- > 0;) {
      const double* row = v.row(g);
      for (std::size_t h = g + 1; h < groups; ++h) change_[g] -= row[h] * change_[h];
      change_[g] /= row[g];
    }
    return true;
  }

  // `exact` as it can be stored, or the old scale where that would be none.
  static float moved(const RowSystem& system, float old, double exact) {
    if (!std::isfinite(exact)) return old;
    const float scale = stored_scale(static_cast<float>(exact), system.scale_dtype);
    return system.keep_sign && scale < 0 ? old : scale;
  }

  // One pass over the scales, each to the best stored value with the others as they are.
  // product_ holds A times the change so far. Returns the change of L.
  double descend(const RowSystem& system) {
    const std::size_t groups = system.groups;
    double gain = 0;
    for (std::size_t g = 0; g < groups; ++g) {
      const auto curvature = static_cast<double>(system.a[g * groups + g]);
      if (!(curvature > 0)) continue;
      const double slope = system.b[g] + product_[g];
      const auto old = static_cast<double>(fitted_[g]);
      const float scale = moved(system, fitted_[g], old - slope / curvature);
      const double step = static_cast<double>(scale) - old;
      const double difference = step * (2 * slope + step * curvature);
      if (!(difference < 0)) continue;
      gain += difference;
      fitted_[g] = scale;
      for (std::size_t h = 0; h < g; ++h) {
        product_[h] += step * static_cast<double>(system.a[h * groups + g]);
      }
      const float* row = system.a + g * groups;
      for (std::size_t h = g; h < groups; ++h) product_[h] += step * static_cast<double>(row[h]);
    }
    return gain;
  }

  const MatrixProducts& products_;
  ThreadPool serial_{1};
  std::vector<double> factor_;
  std::vector<double> change_;
  std::vector<double> product_;
  std::vector<float> fitted_;
};

// Some rows of a matrix and what their loss consists of.
class Panel {
 public:
  Panel(std::span<const float> weights, const InputMoments& moments, const MatrixProducts& products,
        const QuantizedMatrix& matrix, std::size_t first_row, std::size_t rows)
      : products_(products),
        matrix_(matrix),
        gram_{moments.gram.data(), matrix.cols},
        rows_(rows),
        stride_(matrix.cols + 16),
        difference_(rows * stride_),
        codes_(rows * stride_),
        block_(rows * kBlock),
        forms_(rows) {
    weight_difference(weights, matrix, first_row, rows, difference_.data(), stride_);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::int8_t* from = matrix.codes.data() + (first_row + r) * matrix.cols;
      float* to = codes_.data() + r * stride_;
      for_each_run(0, matrix.cols, [&](std::size_t group, std::size_t begin, std::size_t count) {
        const std::int32_t zero_point = matrix.grid(first_row + r, group).zero_point;
        for (std::size_t i = begin; i < begin + count; ++i) {
          to[i] = static_cast<float>(from[i] - zero_point);
        }
      });
    }
  }

  // loss[r] = d^T H d, b[r, g] = q_g^T (H d)_g with d = W^ - W.
  void measure(double* loss, double* b) {
    const std::size_t groups = matrix_.groups();
    for (std::size_t j = 0; j < matrix_.cols; j += kBlock) {
      const std::size_t cols = std::min(kBlock, matrix_.cols - j);
      products_.multiply({difference_.data(), stride_}, gram_.at(j, 0), {block_.data(), kBlock},
                         {rows_, cols, matrix_.cols});
      for (std::size_t r = 0; r < rows_; ++r) {
        const float* product = block_.data() + r * kBlock;
        const float* difference = difference_.data() + r * stride_ + j;
        for (std::size_t i = 0; i < cols; ++i) {
          loss[r] += static_cast<double>(difference[i]) * static_cast<double>(product[i]);
        }
        for_each_run(j, cols, [&](std::size_t group, std::size_t begin, std::size_t count) {
          b[r * groups + group] +=
              dot(codes_.data() + r * stride_ + begin, product + (begin - j), count);
        });
      }
    }
  }

  // a[r, g, h] = q_g^T H_gh q_h for g <= h. H is symmetric: only what is on and right of blocks on
  // its diagonal is multiplied, and counts twice where both sides belong to one group.
  void fill_system(float* a) {
    const std::size_t width = matrix_.group_width();
    for (std::size_t first = 0; first < matrix_.cols;) {
      const std::size_t group = first / width;
      const std::size_t end = std::min({first + kDepth, (group + 1) * width, matrix_.cols});
      add_products(first, end, first, end, a);
      add_products(first, end, end, matrix_.cols, a);
      first = end;
    }
  }

 private:
  // Adds q^T H q' for columns [first, end) of one group and columns [j, j_end) to `a`.
  void add_products(std::size_t first, std::size_t end, std::size_t j, std::size_t j_end,
                    float* a) {
    const std::size_t groups = matrix_.groups();
    const std::size_t group = first / matrix_.group_width();
    const MatrixView<const float> codes{codes_.data(), stride_};
    for_each_run(j, j_end - j, [&](std::size_t h, std::size_t begin, std::size_t count) {
      products_.quadratic_forms(codes.at(0, first), gram_.at(first, begin), codes.at(0, begin),
                                rows_, end - first, count, forms_.data());
      const float times = h == group && j >= end ? 2.0f : 1.0f;
      for (std::size_t r = 0; r < rows_; ++r) {
        a[(r * groups + group) * groups + h] += times * forms_[r];
      }
    });
  }

  // Calls body(group, begin, count) for the pieces of columns [first, first + count).
  template <typename Body>
  void for_each_run(std::size_t first, std::size_t count, const Body& body) const {
    const std::size_t width = matrix_.group_width();
    for (std::size_t begin = first; begin < first + count;) {
      const std::size_t group = begin / width;
      const std::size_t end = std::min(first + count, (group + 1) * width);
      body(group, begin, end - begin);
      begin = end;
    }
  }

  const MatrixProducts& products_;
  const QuantizedMatrix& matrix_;
  MatrixView<const float> gram_;
  std::size_t rows_;
  std::size_t stride_;
  std::vector<float> difference_;  // [rows, K] d
  std::vector<float> codes_;       // [rows, K] q, zero points taken off
  std::vector<float> block_;       // [rows, kBlock]
  std::vector<float> forms_;       // [rows]
};

void check_sizes(std::span<const float> weights, const InputMoments& moments,
                 const QuantizedMatrix& matrix) {
  FPTQ_CHECK(moments.width == matrix.cols && weights.size() == matrix.rows * matrix.cols,
             "weights, moments and matrix have the same inputs");
}

// In the order of rows.
LossChange total(const std::vector<LossChange>& rows) {
  LossChange change;
  for (const LossChange& row : rows) {
    change.before += row.before;
    change.after += row.after;
  }
  return change;
}

}  // namespace

LossChange refit_scales(std::span<const float> weights, const InputMoments& moments, Isa isa,
                        ThreadPool& pool, QuantizedMatrix& matrix) {
  check_sizes(weights, moments, matrix);
  const MatrixProducts products(isa);
  const std::size_t groups = matrix.groups();
  const std::size_t system_floats = groups * groups;
  const std::size_t most_rows = std::max<std::size_t>(4, kMostSystemFloats / system_floats);
  std::vector<LossChange> changes(matrix.rows);
  pool.parallel_for(matrix.rows, std::min(most_rows, panel_rows(matrix.rows, pool.threads())),
                    [&](std::size_t begin, std::size_t end) {
                      const std::size_t rows = end - begin;
                      std::vector<double> losses(rows);
                      std::vector<double> b(rows * groups);
                      std::vector<float> a(rows * system_floats);
                      Panel panel(weights, moments, products, matrix, begin, rows);
                      panel.measure(losses.data(), b.data());
                      panel.fill_system(a.data());
                      RowRefit refit(groups, products);
                      std::vector<float> scales(groups);
                      for (std::size_t r = 0; r < rows; ++r) {
                        float* stored = matrix.scales.data() + (begin + r) * groups;
                        std::copy_n(stored, groups, scales.begin());
                        const RowSystem system{groups, a.data() + r * system_floats,
                                               b.data() + r * groups, matrix.scale_dtype,
                                               !matrix.args.symmetric};
                        const double change = refit.run(system, scales.data());
                        changes[begin + r] = {losses[r], losses[r]};
                        if (!(change < -kLeastGain * losses[r])) continue;
                        changes[begin + r].after += change;
                        std::copy(scales.begin(), scales.end(), stored);
                      }
                    });
  return total(changes);
}

LossChange descend_codes(std::span<const float> weights, const InputMoments& moments, int passes,
                         Isa isa, ThreadPool& pool, QuantizedMatrix& matrix) {
  check_sizes(weights, moments, matrix);
  const MatrixProducts products(isa);
  const std::size_t cols = matrix.cols;
  const std::size_t stride = cols + 16;
  const auto lowest = static_cast<float>(lowest_code(matrix.args.num_bits));
  const auto highest = static_cast<float>(highest_code(matrix.args.num_bits));
  std::vector<LossChange> changes(matrix.rows);
  pool.parallel_for(
      matrix.rows, panel_rows(matrix.rows, pool.threads()),
      [&](std::size_t begin, std::size_t end) {
        const std::size_t rows = end - begin;
        std::vector<float> difference(rows * stride);
        std::vector<float> gradient(rows * stride);  // H d
        weight_difference(weights, matrix, begin, rows, difference.data(), stride);
        products.multiply({difference.data(), stride}, {moments.gram.data(), cols},
                          {gradient.data(), stride}, {rows, cols, cols});
        for (std::size_t r = 0; r < rows; ++r) {
          double& loss = changes[begin + r].before;
          for (std::size_t i = 0; i < cols; ++i) {
            loss += static_cast<double>(difference[r * stride + i]) *
                    static_cast<double>(gradient[r * stride + i]);
          }
          changes[begin + r].after = loss;
        }
        for (int pass = 0; pass < passes; ++pass) {
          for (std::size_t i = 0; i < cols; ++i) {
            const float* h = moments.gram.data() + i * cols;
            if (!(h[i] > 0)) continue;
            for (std::size_t r = 0; r < rows; ++r) {
              const float scale = matrix.grid(begin + r, i / matrix.group_width()).scale;
              std::int8_t& code = matrix.codes[(begin + r) * cols + i];
              float* slopes = gradient.data() + r * stride;
              const auto old = static_cast<float>(code);
              const float best = old - slopes[i] / (scale * h[i]);
              if (!std::isfinite(best)) continue;
              const float chosen = std::nearbyint(std::clamp(best, lowest, highest));
              const float step = (chosen - old) * scale;
              const double change = static_cast<double>(step) *
                                    (2.0 * static_cast<double>(slopes[i]) +
                                     static_cast<double>(step) * static_cast<double>(h[i]));
              if (!(change < 0)) continue;
              code = static_cast<std::int8_t>(chosen);
              changes[begin + r].after += change;
              for (std::size_t j = 0; j < cols; ++j) slopes[j] += step * h[j];
            }
          }
        }
      });
  return total(changes);
}

}  // namespace fptq::algo
