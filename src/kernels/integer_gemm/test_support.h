// What the tests of the integer products share: problems, an oracle, and the cases themselves.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/integer_gemm/layout.h"
#include "kernels/integer_gemm/pack.h"
#include "kernels/kernel_test_support.h"
#include "kernels/variant.h"

namespace fptq::kernels::testing {

// How codes are chosen. kExtreme: every product is as large as the codes allow, with one sign
// per group, so that any narrow sum overflows.
enum class Fill { kRandom, kExtreme };

struct GemmShape {
  int num_bits = 4;
  std::size_t m = 1;
  std::size_t n = 16;
  std::size_t k = 64;
  std::size_t group_width = 32;
  bool symmetric_weights = false;
  bool symmetric_activations = true;
  ElementType scale_type = ElementType::kF16;
  Fill fill = Fill::kRandom;
};

inline std::ostream& operator<<(std::ostream& out, const GemmShape& s) {
  return out << "m=" << s.m << " n=" << s.n << " k=" << s.k << " group=" << s.group_width
             << " symmetric weights=" << s.symmetric_weights
             << " activations=" << s.symmetric_activations
             << " scale type=" << static_cast<int>(s.scale_type)
             << " fill=" << static_cast<int>(s.fill);
}

// Memory on a cache line with nothing readable behind it as far as sanitizers are concerned.
template <typename T>
class AlignedArray {
 public:
  explicit AlignedArray(std::size_t count)
      : data_(static_cast<T*>(std::aligned_alloc(64, ceil_div(count * sizeof(T) + 1, 64) * 64)),
              &std::free) {
    for (std::size_t i = 0; i < count; ++i) data_.get()[i] = T{};
  }
  [[nodiscard]] T* data() const { return data_.get(); }

 private:
  std::unique_ptr<T, decltype(&std::free)> data_;
};

// Weights and activations of one product, unpacked and packed.
class GemmProblem {
 public:
  explicit GemmProblem(const GemmShape& shape, std::uint64_t seed = 1);

  // y [M, N] of all blocks, or of [block_begin, block_end) with the rest left at 12345.
  [[nodiscard]] std::vector<float> run(IntegerGemmFn gemm) const;
  [[nodiscard]] std::vector<float> run(IntegerGemmFn gemm, const IntegerGemmArgs& args) const;
  // Arguments without y.
  [[nodiscard]] IntegerGemmArgs args() const;

  // y[m, n] in double precision from the definition, and the sum of its terms' magnitudes.
  struct Oracle {
    double value;
    double magnitude;
  };
  [[nodiscard]] Oracle oracle(std::size_t m, std::size_t n) const;

  GemmShape shape;
  std::size_t groups;
  std::size_t stride;
  std::vector<std::int8_t> w_codes;  // [N, K]
  std::vector<float> w_scales;       // [N, groups]
  std::vector<std::int8_t> w_zeros;  // [N, groups]
  std::vector<float> x_scales;
  std::vector<std::int32_t> x_zeros;
  std::vector<float> bias;
  std::vector<std::int16_t> pair_sums;
  AlignedArray<std::int8_t> x_codes;
  AlignedArray<std::uint8_t> packed;

 private:
  void fill_weights(std::uint64_t seed);
  void fill_activations(std::uint64_t seed);
  [[nodiscard]] PackedShape packed_shape() const;
  void pack();
};

// The cases that every variant has to pass; each compares with `reference` bit for bit.
void expect_same_bits_around_block_edges(int num_bits, IntegerGemmFn gemm, IntegerGemmFn reference);
void expect_same_bits_for_every_batch_size(int num_bits, IntegerGemmFn gemm,
                                           IntegerGemmFn reference);
void expect_same_bits_for_every_scheme(int num_bits, IntegerGemmFn gemm, IntegerGemmFn reference);
void expect_same_bits_at_the_extremes(int num_bits, IntegerGemmFn gemm, IntegerGemmFn reference);
// A row of a batch equals the same row alone; a range of blocks equals the same columns of all,
// and writes no others.
void expect_rows_and_blocks_independent(int num_bits, IntegerGemmFn gemm);
// `gemm` against the oracle, within a bound derived from float32's rounding.
void expect_close_to_oracle(int num_bits, IntegerGemmFn gemm);

}  // namespace fptq::kernels::testing
