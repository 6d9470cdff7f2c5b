#include "algo/output_loss.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "algo/matrix_products.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// Columns that are multiplied at a time.
constexpr std::size_t kBlock = 256;

double dot(const float* a, const float* b, std::size_t count) {
  double total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return total;
}

}  // namespace

std::size_t panel_rows(std::size_t rows, std::size_t threads) {
  constexpr std::size_t kMost = 96;  // a block of dense_gemm
  constexpr std::size_t kStep = 16;
  const std::size_t share = (rows + 2 * threads - 1) / (2 * threads);
  return std::clamp((share + kStep - 1) / kStep * kStep, kStep, kMost);
}

void weight_difference(std::span<const float> weights, const QuantizedMatrix& matrix,
                       std::size_t first_row, std::size_t rows, float* difference,
                       std::size_t stride) {
  const std::size_t cols = matrix.cols;
  const std::size_t width = matrix.group_width();
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t row = first_row + r;
    const float* from = weights.data() + row * cols;
    const std::int8_t* codes = matrix.codes.data() + row * cols;
    float* out = difference + r * stride;
    for (std::size_t begin = 0; begin < cols; begin += width) {
      const Grid grid = matrix.grid(row, begin / width);
      const std::size_t end = std::min(cols, begin + width);
      for (std::size_t i = begin; i < end; ++i) out[i] = dequantize_value(codes[i], grid) - from[i];
    }
  }
}

std::vector<double> row_losses(std::span<const float> weights, const InputMoments& moments,
                               const QuantizedMatrix& matrix, Isa isa, ThreadPool& pool) {
  const std::size_t width = matrix.cols;
  FPTQ_CHECK(moments.width == width && weights.size() == matrix.rows * width,
             "weights, moments and matrix have the same inputs");
  const MatrixProducts products(isa);
  const MatrixView<const float> gram{moments.gram.data(), width};
  const std::size_t stride = width + 16;
  std::vector<double> losses(matrix.rows);
  pool.parallel_for(
      matrix.rows, panel_rows(matrix.rows, pool.threads()),
      [&](std::size_t begin, std::size_t end) {
        const std::size_t rows = end - begin;
        std::vector<float> difference(rows * stride);
        std::vector<float> product(rows * kBlock);
        weight_difference(weights, matrix, begin, rows, difference.data(), stride);
        const MatrixView<const float> d{difference.data(), stride};
        // d^T H d = sum over blocks b of d_b^T H_bb d_b + 2 d_b^T H_b,<b d_<b.
        for (std::size_t j = 0; j < width; j += kBlock) {
          const std::size_t cols = std::min(kBlock, width - j);
          for (const bool diagonal : {true, false}) {
            const std::size_t from = diagonal ? j : 0;
            products.multiply(d.at(0, from), gram.at(j, from), {product.data(), kBlock},
                              {rows, cols, diagonal ? cols : j});
            for (std::size_t r = 0; r < rows; ++r) {
              const double part = dot(d.row(r) + j, product.data() + r * kBlock, cols);
              losses[begin + r] += diagonal ? part : 2 * part;
            }
          }
        }
      });
  return losses;
}

double output_loss(std::span<const float> weights, const InputMoments& moments,
                   const QuantizedMatrix& matrix, Isa isa, ThreadPool& pool) {
  const std::vector<double> losses = row_losses(weights, moments, matrix, isa, pool);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace fptq::algo
