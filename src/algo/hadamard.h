// Randomized Hadamard rotations: they spread an outlier over all channels of its block.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace fptq::algo {

// The orthogonal matrix Q = diag(signs) * (I x H) / sqrt(B) [width, width]: random signs, then a
// Hadamard matrix H = P x S on every block of B channels. S is Sylvester's of a power of two, P the
// smallest matrix of Paley's for which B is the whole width:
//
//   width = 2^n               B = width, P = (1)
//   width = 2^a * m           B = width, P of order m <= kLargestPaleyOrder, where m - 1 is a prime
//                             power = 3 mod 4 (Paley I) or m / 2 - 1 one = 1 mod 4 (Paley II)
//   any other                 B = the largest power of two that divides width, P = (1)
//
// Llama's widths: 4096 and 8192 are 2^n, 5632 = 128 * 44, 8960 = 64 * 140, 11008 = 32 * 344,
// 14336 = 512 * 28; 172 = 11008 / 64 is none of Paley's orders.
//
// Thread safety: const member functions may be called from several threads.
class Rotation {
 public:
  static constexpr std::size_t kLargestPaleyOrder = 512;

  // width >= 1. The same seed gives the same signs everywhere.
  Rotation(std::size_t width, std::uint64_t seed);
  // Without random signs: Q = (I x H) / sqrt(B).
  explicit Rotation(std::size_t width);

  [[nodiscard]] std::size_t width() const { return signs_.size(); }
  [[nodiscard]] std::size_t block() const { return sylvester_ * paley_; }  // B
  [[nodiscard]] std::size_t paley_order() const { return paley_; }         // of P; 1: none
  [[nodiscard]] std::span<const float> signs() const { return signs_; }    // [width] 1 or -1

  // rows <- rows * Q, and rows <- rows * Q^T, in float32. Every row is computed in one fixed order:
  // the result does not depend on the number of threads or on the other rows.
  //   rows  [N, width], in place
  // A linear's weights W [N, K] behind a rotated input become W * Q.
  void apply(std::span<float> rows, ThreadPool& pool) const;
  void apply_transposed(std::span<float> rows, ThreadPool& pool) const;

 private:
  enum class Direction : std::uint8_t { kForward, kTransposed };

  void rotate(std::span<float> rows, ThreadPool& pool, Direction direction) const;
  void rotate_row(float* row, float* scratch, Direction direction) const;
  void mix_paley(float* block, float* scratch, Direction direction) const;

  std::vector<float> signs_;
  std::size_t sylvester_ = 1;            // order of S
  std::size_t paley_ = 1;                // order of P
  std::vector<float> paley_matrix_;      // [paley_, paley_] 1 and -1; empty where paley_ is 1
  std::vector<float> paley_transposed_;  // its transpose
};

}  // namespace fptq::algo
