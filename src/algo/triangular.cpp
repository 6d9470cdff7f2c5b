#include "algo/triangular.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace fptq::algo {
namespace {

// Rows and columns of a diagonal block.
constexpr std::size_t kBlock = 128;
// Rows of a block that are solved one after the other; between them, products do the work.
constexpr std::size_t kSubBlock = 16;
// Columns that a thread takes at a time.
constexpr std::size_t kStrip = 96;
// Rows of the rest that a thread updates at a time; divides kBlock.
constexpr std::size_t kUpdateRows = 64;

constexpr double kLeastPivot = 1e-12;

// target[j] -= factor * source[j]
void subtract_row(double factor, const double* source, std::size_t count, double* target) {
  for (std::size_t j = 0; j < count; ++j) target[j] -= factor * source[j];
}

void divide_row(double divisor, std::size_t count, double* row) {
  for (std::size_t j = 0; j < count; ++j) row[j] /= divisor;
}

// factor_upper() of one block. diagonal: [n] of the matrix before anything was subtracted.
bool factor_block(MatrixView<double> a, std::size_t n, const double* diagonal) {
  for (std::size_t i = 0; i < n; ++i) {
    double* row = a.row(i);
    if (!(row[i] > kLeastPivot * diagonal[i]) || !std::isfinite(row[i])) return false;
    divide_row(std::sqrt(row[i]), n - i, row + i);
    for (std::size_t r = i + 1; r < n; ++r) subtract_row(row[r], row + r, n - r, a.row(r) + r);
  }
  // Products of whole tiles left numbers below the diagonal.
  for (std::size_t i = 1; i < n; ++i) std::fill_n(a.row(i), i, 0.0);
  return true;
}

// Solves V^T Y = B from the first row down; Y replaces B.
//   v             [n, n] upper triangular
//   v_transposed  [n, n] its transpose
//   b             [n, columns]
void solve_transposed(MatrixView<const double> v, MatrixView<const double> v_transposed,
                      std::size_t n, MatrixView<double> b, std::size_t columns,
                      const MatrixProducts& products) {
  for (std::size_t first = 0; first < n; first += kSubBlock) {
    const std::size_t end = std::min(n, first + kSubBlock);
    products.subtract(v_transposed.at(first, 0), {b.data, b.stride}, b.at(first, 0),
                      {end - first, columns, first});
    for (std::size_t r = first; r < end; ++r) {
      for (std::size_t q = first; q < r; ++q) {
        subtract_row(v.row(q)[r], b.row(q), columns, b.row(r));
      }
      divide_row(v.row(r)[r], columns, b.row(r));
    }
  }
}

// Solves V Y = B from the last row up; Y replaces B.
void solve(MatrixView<const double> v, std::size_t n, MatrixView<double> b, std::size_t columns,
           const MatrixProducts& products) {
  const std::size_t blocks = (n + kSubBlock - 1) / kSubBlock;
  for (std::size_t block = blocks; block-- > 0;) {
    const std::size_t first = block * kSubBlock;
    const std::size_t end = std::min(n, first + kSubBlock);
    const MatrixView<double> below = b.at(end, 0);
    products.subtract(v.at(first, end), {below.data, below.stride}, b.at(first, 0),
                      {end - first, columns, n - end});
    for (std::size_t r = end; r-- > first;) {
      for (std::size_t q = r + 1; q < end; ++q) {
        subtract_row(v.row(r)[q], b.row(q), columns, b.row(r));
      }
      divide_row(v.row(r)[r], columns, b.row(r));
    }
  }
}

MatrixView<const double> constant(MatrixView<double> view) {
  return {view.data, view.stride};
}

}  // namespace

bool factor_upper(MatrixView<double> a, std::size_t n, const MatrixProducts& products,
                  ThreadPool& pool) {
  std::vector<double> diagonal(n);
  for (std::size_t i = 0; i < n; ++i) diagonal[i] = a.row(i)[i];
  std::vector<double> block_transposed(kBlock * kBlock);
  std::vector<double> rest_transposed(n * kBlock);  // [n, kBlock]: rows of the block as columns
  for (std::size_t first = 0; first < n; first += kBlock) {
    const std::size_t rows = std::min(kBlock, n - first);
    const std::size_t rest = first + rows;
    const MatrixView<double> block = a.at(first, first);
    if (!factor_block(block, rows, diagonal.data() + first)) return false;
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < rows; ++j) block_transposed[j * kBlock + i] = block.row(i)[j];
    }
    pool.parallel_for(n - rest, kStrip, [&](std::size_t begin, std::size_t end) {
      const MatrixView<double> strip = a.at(first, rest + begin);
      solve_transposed(constant(block), {block_transposed.data(), kBlock}, rows, strip, end - begin,
                       products);
      for (std::size_t j = begin; j < end; ++j) {
        double* out = rest_transposed.data() + (rest + j) * kBlock;
        for (std::size_t i = 0; i < rows; ++i) out[i] = strip.row(i)[j - begin];
      }
    });
    pool.parallel_for(n - rest, kUpdateRows, [&](std::size_t begin, std::size_t end) {
      const std::size_t i = rest + begin;
      products.subtract({rest_transposed.data() + i * kBlock, kBlock}, constant(a.at(first, i)),
                        a.at(i, i), {end - begin, n - i, rows});
    });
  }
  return true;
}

void invert_upper(MatrixView<double> v, std::size_t n, const MatrixProducts& products,
                  ThreadPool& pool) {
  // Block rows from the last one up, X = V^-1: X12 = -V11^-1 (V12 X22), X22 done before.
  const std::size_t copy_stride = n + 8;
  std::vector<double> copy(kBlock * copy_stride);
  std::vector<double> inverse(kBlock * kBlock);
  const std::size_t blocks = (n + kBlock - 1) / kBlock;
  for (std::size_t index = blocks; index-- > 0;) {
    const std::size_t first = index * kBlock;
    const std::size_t rows = std::min(kBlock, n - first);
    const std::size_t rest = first + rows;
    const MatrixView<double> block = v.at(first, first);
    for (std::size_t i = 0; i < rows && rest < n; ++i) {
      double* row = v.row(first + i);
      std::copy(row + rest, row + n, copy.data() + i * copy_stride);
      std::fill(row + rest, row + n, 0.0);
    }
    const std::size_t strips = (n - rest + kStrip - 1) / kStrip;
    pool.parallel_for(strips, 1, [&](std::size_t strip, std::size_t) {
      // The last strips are the longest: they come first.
      const std::size_t begin = (strips - 1 - strip) * kStrip;
      const std::size_t end = std::min(n - rest, begin + kStrip);
      const MatrixView<double> out = v.at(first, rest + begin);
      products.subtract({copy.data(), copy_stride}, constant(v.at(rest, rest + begin)), out,
                        {rows, end - begin, end});
      solve(constant(block), rows, out, end - begin, products);
    });
    std::fill(inverse.begin(), inverse.end(), 0.0);
    for (std::size_t i = 0; i < rows; ++i) inverse[i * kBlock + i] = 1.0;
    solve(constant(block), rows, {inverse.data(), kBlock}, rows, products);
    for (std::size_t i = 0; i < rows; ++i) {
      std::copy_n(inverse.data() + i * kBlock + i, rows - i, block.row(i) + i);
    }
  }
}

}  // namespace fptq::algo
