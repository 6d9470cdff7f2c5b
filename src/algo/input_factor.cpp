#include "algo/input_factor.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>
#include <string_view>

#include "algo/matrix_products.h"
#include "algo/triangular.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

using Doubles = std::vector<double, HugePageAllocator<double>>;

// What a damping of 0 becomes where it is not enough.
constexpr double kLeastDamping = 1e-6;

bool all_finite(const float* values, std::size_t count) {
  constexpr std::uint32_t kExponent = 0x7F800000;
  std::uint32_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const bool finite = (std::bit_cast<std::uint32_t>(values[i]) & kExponent) != kExponent;
    found |= finite ? 0 : 1;
  }
  return found == 0;
}

// The matrix [width, width] must be finite; `name` says which one it is.
Status check_finite(std::span<const float> matrix, std::size_t width, std::string_view name,
                    ThreadPool& pool) {
  std::atomic<std::size_t> first_row{width};
  pool.parallel_for(width, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      if (all_finite(matrix.data() + row * width, width)) continue;
      std::size_t seen = first_row.load();
      while (row < seen && !first_row.compare_exchange_weak(seen, row)) {
      }
    }
  });
  const std::size_t row = first_row.load();
  if (row == width) return {};
  std::size_t col = 0;
  while (std::isfinite(matrix[row * width + col])) ++col;
  return Error{Error::Kind::kInvalidArgument,
               std::string(name) + " of the inputs: element [" + std::to_string(row) + ", " +
                   std::to_string(col) + "]: expected a finite number, got " +
                   std::to_string(matrix[row * width + col]) +
                   ". Does the model overflow on the calibration text?"};
}

// What H and its order become when they are factored: rows and columns in reverse, so that a
// factorization from the first row down is one from the last row up.
//   a  [K, K] out: the upper triangle of H + lambda I in that order, zeros below
void fill_reversed(std::span<const float> gram, std::span<const std::uint32_t> order, double lambda,
                   ThreadPool& pool, MatrixView<double> a) {
  const std::size_t width = order.size();
  pool.parallel_for(width, 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const float* from = gram.data() + std::size_t{order[width - 1 - i]} * width;
      double* row = a.row(i);
      std::fill_n(row, i, 0.0);
      for (std::size_t j = i; j < width; ++j) {
        row[j] = static_cast<double>(from[order[width - 1 - j]]);
      }
      // A dead column; its other entries are 0 as well.
      if (row[i] == 0.0) row[i] = 1.0;
      row[i] += lambda;
    }
  });
}

// The symmetric storage of U from the inverse X of the factor of what fill_reversed() made:
// U[i, j] = X[K - 1 - j, K - 1 - i].
void fill_inverse_factor(MatrixView<const double> inverse, std::size_t width, ThreadPool& pool,
                         float* factor) {
  pool.parallel_for(width, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const double* from = inverse.row(width - 1 - i);
      for (std::size_t j = 0; j <= i; ++j) {
        factor[i * width + j] = static_cast<float>(from[width - 1 - j]);
      }
    }
  });
  constexpr std::size_t kTile = 64;
  pool.parallel_for(width, kTile, [&](std::size_t begin, std::size_t end) {
    // Rows below give what lies right of the diagonal, in square tiles.
    for (std::size_t tile = begin; tile < width; tile += kTile) {
      const std::size_t tile_end = std::min(width, tile + kTile);
      for (std::size_t i = begin; i < end; ++i) {
        for (std::size_t j = std::max(tile, i + 1); j < tile_end; ++j) {
          factor[i * width + j] = factor[j * width + i];
        }
      }
    }
  });
}

}  // namespace

Result<InputFactor> InputFactor::make(const InputMoments& moments, const FactorOptions& options,
                                      ThreadPool& pool) {
  const std::size_t width = moments.width;
  FPTQ_CHECK(moments.gram.size() == width * width, "the Gram matrix is [K, K]");
  FPTQ_CHECK(moments.shift.empty() || moments.shift.size() == width * width,
             "the moment of the shift is [K, K]");
  FPTQ_CHECK(options.damping >= 0, "damping is not negative");
  FPTQ_TRY_VOID(check_finite(moments.gram, width, "second moment", pool));
  if (!moments.shift.empty()) {
    FPTQ_TRY_VOID(check_finite(moments.shift, width, "moment of the shift", pool));
  }

  InputFactor factor;
  const auto diagonal = [&](std::size_t i) { return moments.gram[i * width + i]; };
  double sum = 0;
  for (std::uint32_t i = 0; i < width; ++i) {
    if (diagonal(i) == 0.0f) factor.dead_columns_.push_back(i);
    sum += static_cast<double>(diagonal(i));
  }
  const std::size_t live = width - factor.dead_columns_.size();
  const double mean = live > 0 ? sum / static_cast<double>(live) : 1.0;
  factor.order_.resize(width);
  std::iota(factor.order_.begin(), factor.order_.end(), 0u);
  if (options.act_order) {
    std::stable_sort(factor.order_.begin(), factor.order_.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return diagonal(a) > diagonal(b); });
  }

  const MatrixProducts products(options.isa);
  // Rows start on different sets of the caches.
  const std::size_t stride = width + 8;
  Doubles work(width * stride);
  const MatrixView<double> a{work.data(), stride};
  factor.damping_.relative = options.damping;
  for (;;) {
    factor.damping_.lambda = factor.damping_.relative * mean;
    fill_reversed(moments.gram, factor.order_, factor.damping_.lambda, pool, a);
    if (factor_upper(a, width, products, pool)) break;
    factor.damping_.relative = std::max(kLeastDamping, factor.damping_.relative * 10);
    ++factor.raised_;
  }
  invert_upper(a, width, products, pool);
  factor.inverse_factor_.resize(width * width);
  fill_inverse_factor({a.data, a.stride}, width, pool, factor.inverse_factor_.data());
  return factor;
}

}  // namespace fptq::algo
