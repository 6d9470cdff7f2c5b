#include "algo/hadamard.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "algo/paley.h"
#include "base/check.h"
#include "base/rng.h"

namespace fptq::algo {
namespace {

// Rows that a thread takes at a time: enough to pay for its scratch memory.
constexpr std::size_t kRowsPerPiece = 8;
// Columns of a Paley block that are summed together, in registers.
constexpr std::size_t kLanes = 32;

// values <- values * S, S the Sylvester matrix of that order (a power of two), unnormalized. S is
// symmetric.
void sylvester(float* values, std::size_t order) {
  for (std::size_t half = 1; half < order; half *= 2) {
    for (std::size_t begin = 0; begin < order; begin += 2 * half) {
      float* const low = values + begin;
      float* const high = low + half;
      for (std::size_t i = 0; i < half; ++i) {
        const float sum = low[i] + high[i];
        high[i] = low[i] - high[i];
        low[i] = sum;
      }
    }
  }
}

// out[i] = sum_r column[r] * in[r * stride + i] for i < count <= kLanes, r ascending.
void signed_sum(const float* in, std::size_t stride, std::size_t terms, const float* column,
                std::size_t count, float* out) {
  float sums[kLanes] = {};
  if (count == kLanes) {
    for (std::size_t r = 0; r < terms; ++r) {
      const float sign = column[r];
      for (std::size_t i = 0; i < kLanes; ++i) sums[i] += sign * in[r * stride + i];
    }
  } else {
    for (std::size_t r = 0; r < terms; ++r) {
      for (std::size_t i = 0; i < count; ++i) sums[i] += column[r] * in[r * stride + i];
    }
  }
  std::copy_n(sums, count, out);
}

}  // namespace

Rotation::Rotation(std::size_t width) : signs_(width, 1.0f) {
  FPTQ_CHECK(width > 0, "a rotation of at least one channel");
  const std::size_t power_of_two = width & (~width + 1);
  sylvester_ = power_of_two;
  if (power_of_two == width) return;
  for (std::size_t order = 4 * (width / power_of_two);
       order <= kLargestPaleyOrder && width % order == 0; order *= 2) {
    auto matrix = paley_matrix(order);
    if (!matrix) continue;
    paley_ = order;
    sylvester_ = width / order;
    paley_matrix_ = *std::move(matrix);
    paley_transposed_.resize(order * order);
    for (std::size_t row = 0; row < order; ++row) {
      for (std::size_t col = 0; col < order; ++col) {
        paley_transposed_[col * order + row] = paley_matrix_[row * order + col];
      }
    }
    return;
  }
}

Rotation::Rotation(std::size_t width, std::uint64_t seed) : Rotation(width) {
  Rng rng(seed);
  for (float& sign : signs_) sign = (rng.bits() >> 63) == 0 ? 1.0f : -1.0f;
}

// block <- block * (P x I), or with P^T: out[c, :] = sum_r P[r, c] * block[r, :].
void Rotation::mix_paley(float* block, float* scratch, Direction direction) const {
  const std::vector<float>& columns =
      direction == Direction::kForward ? paley_transposed_ : paley_matrix_;
  for (std::size_t i = 0; i < sylvester_; i += kLanes) {
    const std::size_t count = std::min(kLanes, sylvester_ - i);
    for (std::size_t c = 0; c < paley_; ++c) {
      signed_sum(block + i, sylvester_, paley_, columns.data() + c * paley_, count,
                 scratch + c * sylvester_ + i);
    }
  }
  std::copy_n(scratch, paley_ * sylvester_, block);
}

void Rotation::rotate_row(float* row, float* scratch, Direction direction) const {
  const auto norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(block())));
  if (direction == Direction::kForward) {
    for (std::size_t i = 0; i < width(); ++i) row[i] *= signs_[i];
  }
  for (std::size_t begin = 0; begin < width(); begin += sylvester_) {
    sylvester(row + begin, sylvester_);
  }
  if (paley_ > 1) mix_paley(row, scratch, direction);
  for (std::size_t i = 0; i < width(); ++i) row[i] *= norm;
  if (direction == Direction::kTransposed) {
    for (std::size_t i = 0; i < width(); ++i) row[i] *= signs_[i];
  }
}

void Rotation::rotate(std::span<float> rows, ThreadPool& pool, Direction direction) const {
  FPTQ_CHECK(rows.size() % width() == 0, "whole rows");
  pool.parallel_for(rows.size() / width(), kRowsPerPiece, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scratch(paley_ > 1 ? width() : 0);
    for (std::size_t row = begin; row < end; ++row) {
      rotate_row(rows.data() + row * width(), scratch.data(), direction);
    }
  });
}

void Rotation::apply(std::span<float> rows, ThreadPool& pool) const {
  rotate(rows, pool, Direction::kForward);
}

void Rotation::apply_transposed(std::span<float> rows, ThreadPool& pool) const {
  rotate(rows, pool, Direction::kTransposed);
}

}  // namespace fptq::algo
