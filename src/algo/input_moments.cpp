#include "algo/input_moments.h"

#include <algorithm>
#include <utility>

#include "algo/matrix_products.h"
#include "base/check.h"

namespace fptq::algo {
namespace {

// Rows of a transposed chunk: not a multiple of 4096 bytes, so that a tile's rows do not share
// the sets of a cache.
constexpr std::size_t kChunkStride = kMomentChunk + 16;

// The sum is computed in tiles of kTile x kTile.
constexpr std::size_t kTile = 192;

// chunk[c, first + t] = values[t, c]
void append_transposed(const float* values, std::size_t width, std::size_t rows, std::size_t first,
                       ThreadPool& pool, float* chunk) {
  constexpr std::size_t kBlock = 16;
  pool.parallel_for(width, 4 * kBlock, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = 0; row < rows; row += kBlock) {
      const std::size_t row_end = std::min(rows, row + kBlock);
      for (std::size_t col = begin; col < end; ++col) {
        for (std::size_t t = row; t < row_end; ++t) {
          chunk[col * kChunkStride + first + t] = values[t * width + col];
        }
      }
    }
  });
}

}  // namespace

OuterProductSum::OuterProductSum(std::size_t left_width, std::size_t right_width, bool symmetric,
                                 Isa isa)
    : left_width_(left_width), right_width_(right_width), symmetric_(symmetric), isa_(isa) {
  FPTQ_CHECK(!symmetric || left_width == right_width, "a matrix times itself is square");
}

void OuterProductSum::add(const float* left, const float* right, std::size_t rows,
                          ThreadPool& pool) {
  FPTQ_CHECK((right == nullptr) == symmetric_, "right is given unless it is left");
  left_.resize(left_width_ * kChunkStride);
  if (!symmetric_) right_.resize(right_width_ * kChunkStride);
  while (rows > 0) {
    const std::size_t taken = std::min(rows, kMomentChunk - pending_);
    append_transposed(left, left_width_, taken, pending_, pool, left_.data());
    left += taken * left_width_;
    if (!symmetric_) {
      append_transposed(right, right_width_, taken, pending_, pool, right_.data());
      right += taken * right_width_;
    }
    pending_ += taken;
    rows -= taken;
    if (pending_ == kMomentChunk) flush(pool);
  }
}

void OuterProductSum::flush(ThreadPool& pool) {
  total_.resize(left_width_ * right_width_);
  if (pending_ == 0) return;
  const MatrixProducts products(isa_);
  const MatrixView<const float> left{left_.data(), kChunkStride};
  const MatrixView<const float> right{symmetric_ ? left_.data() : right_.data(), kChunkStride};
  const MatrixView<float> total{total_.data(), right_width_};
  const std::size_t tile_rows = (left_width_ + kTile - 1) / kTile;
  const std::size_t tile_cols = (right_width_ + kTile - 1) / kTile;
  pool.parallel_for(tile_rows * tile_cols, 1, [&](std::size_t index, std::size_t) {
    const std::size_t i = index / tile_cols * kTile;
    const std::size_t j = index % tile_cols * kTile;
    if (symmetric_ && j < i) return;
    const std::size_t rows = std::min(kTile, left_width_ - i);
    const std::size_t cols = std::min(kTile, right_width_ - j);
    alignas(64) float tile[kTile * kTile] = {};
    products.multiply(left.at(i, 0), right.at(j, 0), {tile, kTile}, {rows, cols, pending_});
    for (std::size_t r = 0; r < rows; ++r) {
      float* out = total.row(i + r) + j;
      for (std::size_t c = 0; c < cols; ++c) out[c] += tile[r * kTile + c];
    }
  });
  pending_ = 0;
}

std::vector<float> OuterProductSum::finish(ThreadPool& pool) {
  flush(pool);
  if (symmetric_) {
    const MatrixView<float> total{total_.data(), right_width_};
    const std::size_t tiles = (left_width_ + kTile - 1) / kTile;
    pool.parallel_for(tiles, 1, [&](std::size_t tile, std::size_t) {
      const std::size_t begin = tile * kTile;
      const std::size_t end = std::min(left_width_, begin + kTile);
      // Row `row` below the diagonal, from the tiles above.
      for (std::size_t col = 0; col < begin; ++col) {
        for (std::size_t row = begin; row < end; ++row) total.row(row)[col] = total.row(col)[row];
      }
    });
  }
  return std::exchange(total_, {});
}

MomentAccumulator::MomentAccumulator(std::size_t width, bool with_cross, Isa isa)
    : width_(width), gram_(width, width, true, isa) {
  if (with_cross) cross_.emplace_back(width, width, false, isa);
}

void MomentAccumulator::add(const float* xq, const float* xf, std::size_t rows, ThreadPool& pool) {
  FPTQ_CHECK((xf == nullptr) == cross_.empty(), "original inputs are for the cross moment");
  gram_.add(xq, nullptr, rows, pool);
  for (OuterProductSum& cross : cross_) cross.add(xq, xf, rows, pool);
  tokens_ += rows;
}

InputMoments MomentAccumulator::finish(ThreadPool& pool) {
  InputMoments moments;
  moments.width = width_;
  moments.tokens = std::exchange(tokens_, 0);
  moments.gram = gram_.finish(pool);
  for (OuterProductSum& cross : cross_) moments.cross = cross.finish(pool);
  return moments;
}

OutputMomentAccumulator::OutputMomentAccumulator(std::size_t outputs, std::size_t width, Isa isa)
    : sum_(outputs, width, false, isa) {}

void OutputMomentAccumulator::add_output_moment(const float* e, const float* xq, std::size_t rows,
                                                ThreadPool& pool) {
  sum_.add(e, xq, rows, pool);
}

std::vector<float> OutputMomentAccumulator::finish(ThreadPool& pool) {
  return sum_.finish(pool);
}

void damp(double lambda, InputMoments& moments) {
  for (std::size_t i = 0; i < moments.width; ++i) {
    moments.gram[i * moments.width + i] += static_cast<float>(lambda);
  }
}

}  // namespace fptq::algo
