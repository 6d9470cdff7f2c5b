#include "kernels/integer_gemm/test_support.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fptq::kernels::testing {
namespace {

constexpr float kUntouched = 12345.0f;

float round_to(float value, ElementType type) {
  if (type == ElementType::kF16) return f16_to_f32(f32_to_f16(value));
  if (type == ElementType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  return value;
}

// An integer in [lowest, highest].
std::int8_t random_code(Rng& rng, int lowest, int highest) {
  const auto range = static_cast<std::uint64_t>(highest - lowest + 1);
  return static_cast<std::int8_t>(lowest + static_cast<int>(rng.below(range)));
}

void expect_equal(const GemmShape& shape, IntegerGemmFn gemm, IntegerGemmFn reference) {
  SCOPED_TRACE(::testing::Message() << shape);
  const GemmProblem problem(shape);
  expect_same_bits(problem.run(reference), problem.run(gemm));
}

// Widths of groups that a case of K inputs is tried with; K itself is a scale per channel.
std::vector<std::size_t> group_widths(std::size_t k) {
  return {32, 64, 128, std::max<std::size_t>(k, 1)};
}

}  // namespace

GemmProblem::GemmProblem(const GemmShape& s, std::uint64_t seed)
    : shape(s),
      groups(ceil_div(s.k, s.group_width)),
      stride(ceil_div(s.k, 64) * 64),
      w_codes(s.n * s.k),
      w_scales(s.n * groups),
      w_zeros(s.symmetric_weights ? 0 : s.n * groups),
      x_scales(s.m),
      x_zeros(s.symmetric_activations ? 0 : s.m),
      bias(random_floats(s.n, seed + 7)),
      pair_sums(s.m * slab_count(s.k) * 2),
      x_codes(s.m * stride),
      packed(packed_bytes(packed_shape())) {
  fill_weights(seed);
  fill_activations(seed + 1);
  pack();
}

void GemmProblem::fill_weights(std::uint64_t seed) {
  Rng rng(seed);
  const int lowest = -(1 << (shape.num_bits - 1));
  const int highest = -lowest - 1;
  for (float& scale : w_scales) {
    scale = round_to(static_cast<float>((rng.uniform() + 0.01) * 0.01), shape.scale_type);
  }
  for (std::int8_t& zero : w_zeros) zero = random_code(rng, lowest, highest);
  for (std::size_t i = 0; i < w_codes.size(); ++i) {
    const std::size_t group = i / shape.k * groups + i % shape.k / shape.group_width;
    if (shape.fill == Fill::kRandom) {
      w_codes[i] = random_code(rng, lowest, highest);
    } else if (shape.symmetric_weights) {
      w_codes[i] = static_cast<std::int8_t>(lowest);
    } else {
      const bool up = group % 2 == 0;
      w_zeros[group] = static_cast<std::int8_t>(up ? lowest : highest);
      w_codes[i] = static_cast<std::int8_t>(up ? highest : lowest);
    }
  }
}

void GemmProblem::fill_activations(std::uint64_t seed) {
  Rng rng(seed);
  const int lowest = shape.symmetric_activations ? -127 : -128;
  for (float& scale : x_scales) scale = static_cast<float>((rng.uniform() + 0.01) * 0.1);
  for (std::int32_t& zero : x_zeros) zero = random_code(rng, -128, 127);
  for (std::size_t m = 0; m < shape.m; ++m) {
    if (shape.fill == Fill::kExtreme && !shape.symmetric_activations) x_zeros[m] = 127;
    for (std::size_t k = 0; k < shape.k; ++k) {
      std::int8_t& code = x_codes.data()[m * stride + k];
      // Extreme rows: all lowest, all highest, and the two alternating by group.
      const bool low = m % 3 == 0 || (m % 3 == 2 && k / shape.group_width % 2 == 0);
      code = shape.fill == Fill::kRandom ? random_code(rng, lowest, 127)
                                         : static_cast<std::int8_t>(low ? lowest : 127);
      std::int16_t& sum = pair_sums[(m * slab_count(shape.k) + k / kSlabCols) * 2 + k % 4 / 2];
      sum = static_cast<std::int16_t>(sum + code);
    }
  }
  // A row that was all zeros.
  if (shape.m > 4) {
    std::fill_n(x_codes.data() + 4 * stride, shape.k, std::int8_t{0});
    std::fill_n(&pair_sums[4 * slab_count(shape.k) * 2], slab_count(shape.k) * 2, std::int16_t{0});
  }
}

PackedShape GemmProblem::packed_shape() const {
  return {shape.num_bits,    shape.n,          shape.k,
          shape.group_width, shape.scale_type, shape.symmetric_weights};
}

void GemmProblem::pack() {
  const PackedStorage storage{packed_shape(), packed.data()};
  for (std::size_t row = 0; row < shape.n; ++row) {
    pack_row(storage, row,
             {&w_codes[row * shape.k], &w_scales[row * groups],
              shape.symmetric_weights ? nullptr : &w_zeros[row * groups]});
  }
  pack_padding(storage);
}

IntegerGemmArgs GemmProblem::args() const {
  return IntegerGemmArgs{
      .w = packed_weights(packed_shape(), packed.data()),
      .x = {x_codes.data(), pair_sums.data(), x_scales.data(),
            shape.symmetric_activations ? nullptr : x_zeros.data(), shape.m, stride},
      .bias = bias.data(),
      .y = nullptr,
      .y_stride = shape.n,
      .block_begin = 0,
      .block_end = block_count(shape.n)};
}

std::vector<float> GemmProblem::run(IntegerGemmFn gemm, const IntegerGemmArgs& given) const {
  std::vector<float> y(given.x.rows * given.y_stride, kUntouched);
  IntegerGemmArgs complete = given;
  complete.y = y.data();
  gemm(complete);
  return y;
}

std::vector<float> GemmProblem::run(IntegerGemmFn gemm) const {
  return run(gemm, args());
}

GemmProblem::Oracle GemmProblem::oracle(std::size_t m, std::size_t n) const {
  Oracle result{bias[n], std::abs(static_cast<double>(bias[n]))};
  for (std::size_t k = 0; k < shape.k; ++k) {
    const std::size_t g = n * groups + k / shape.group_width;
    const int w = w_codes[n * shape.k + k] - (w_zeros.empty() ? 0 : w_zeros[g]);
    const int x = x_codes.data()[m * stride + k] - (x_zeros.empty() ? 0 : x_zeros[m]);
    const double term = static_cast<double>(w_scales[g]) * w * x * static_cast<double>(x_scales[m]);
    result.value += term;
    result.magnitude += std::abs(term);
  }
  return result;
}

void expect_same_bits_around_block_edges(int num_bits, IntegerGemmFn gemm,
                                         IntegerGemmFn reference) {
  for (const std::size_t k : {1u, 4u, 31u, 32u, 33u, 63u, 64u, 96u, 127u, 128u, 129u, 172u, 576u,
                              1024u, 1056u, 1536u, 2080u, 4100u}) {
    for (const std::size_t width : group_widths(k)) {
      for (const std::size_t n : {1u, 15u, 16u, 17u, 33u}) {
        for (const std::size_t m : {1u, 7u}) {
          expect_equal({.num_bits = num_bits, .m = m, .n = n, .k = k, .group_width = width}, gemm,
                       reference);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
  // Groups that are not a power of two, or exceed a cache block of the kernels.
  for (const std::size_t width : {32u, 96u, 160u, 1536u, 2048u}) {
    for (const std::size_t m : {5u, 37u}) {
      expect_equal({.num_bits = num_bits, .m = m, .n = 33, .k = 4100, .group_width = width}, gemm,
                   reference);
    }
  }
  // More tokens and channels than kernels keep results of, in more than one range of inputs.
  for (const std::size_t width : {32u, 64u, 1056u, 2112u}) {
    expect_equal({.num_bits = num_bits, .m = 530, .n = 145, .k = 2112, .group_width = width}, gemm,
                 reference);
  }
}

void expect_same_bits_for_every_batch_size(int num_bits, IntegerGemmFn gemm,
                                           IntegerGemmFn reference) {
  // Around the tokens that share a panel of weights, too.
  std::vector<std::size_t> batch_sizes = {64, 95, 97, 130, 300};
  for (std::size_t m = 1; m <= 20; ++m) batch_sizes.push_back(m);
  for (const std::size_t m : batch_sizes) {
    for (const std::size_t width : {32u, 64u, 172u}) {
      for (const std::size_t n : {16u, 49u}) {
        for (const bool symmetric_activations : {false, true}) {
          expect_equal({.num_bits = num_bits,
                        .m = m,
                        .n = n,
                        .k = 172,
                        .group_width = width,
                        .symmetric_activations = symmetric_activations},
                       gemm, reference);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

void expect_same_bits_for_every_scheme(int num_bits, IntegerGemmFn gemm, IntegerGemmFn reference) {
  for (const bool symmetric_weights : {false, true}) {
    for (const bool symmetric_activations : {false, true}) {
      for (const ElementType type : {ElementType::kF32, ElementType::kF16, ElementType::kBF16}) {
        for (const std::size_t m : {1u, 2u, 3u, 4u, 7u, 13u}) {
          for (const std::size_t width : group_widths(1188)) {
            expect_equal({.num_bits = num_bits,
                          .m = m,
                          .n = 35,
                          .k = 1188,
                          .group_width = width,
                          .symmetric_weights = symmetric_weights,
                          .symmetric_activations = symmetric_activations,
                          .scale_type = type},
                         gemm, reference);
            if (::testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

void expect_same_bits_at_the_extremes(int num_bits, IntegerGemmFn gemm, IntegerGemmFn reference) {
  for (const bool symmetric_weights : {false, true}) {
    for (const bool symmetric_activations : {false, true}) {
      for (const std::size_t m : {1u, 3u, 8u, 14u}) {
        for (const std::size_t width : group_widths(2112)) {
          expect_equal({.num_bits = num_bits,
                        .m = m,
                        .n = 33,
                        .k = 2112,
                        .group_width = width,
                        .symmetric_weights = symmetric_weights,
                        .symmetric_activations = symmetric_activations,
                        .fill = Fill::kExtreme},
                       gemm, reference);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

void expect_rows_and_blocks_independent(int num_bits, IntegerGemmFn gemm) {
  const GemmProblem problem(
      {.num_bits = num_bits, .m = 17, .n = 83, .k = 200, .symmetric_activations = false});
  const std::vector<float> all = problem.run(gemm);
  const std::size_t n = problem.shape.n;
  for (std::size_t m = 0; m < problem.shape.m; ++m) {
    IntegerGemmArgs args = problem.args();
    args.x.codes += m * problem.stride;
    args.x.pair_sums += m * slab_count(problem.shape.k) * 2;
    args.x.scales += m;
    args.x.zero_points += m;
    args.x.rows = 1;
    SCOPED_TRACE(::testing::Message() << "row " << m);
    expect_same_bits(std::span(all).subspan(m * n, n), problem.run(gemm, args));
  }
  for (std::size_t begin = 0; begin < 6; ++begin) {
    for (std::size_t end = begin; end <= 6; ++end) {
      IntegerGemmArgs args = problem.args();
      args.block_begin = begin;
      args.block_end = end;
      std::vector<float> expected = all;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const std::size_t block = i % n / kBlockRows;
        if (block < begin || block >= end) expected[i] = kUntouched;
      }
      SCOPED_TRACE(::testing::Message() << "blocks " << begin << " to " << end);
      expect_same_bits(expected, problem.run(gemm, args));
    }
  }
}

void expect_close_to_oracle(int num_bits, IntegerGemmFn gemm) {
  for (const bool symmetric : {false, true}) {
    // Widths that end inside a slab and inside a quad, too.
    for (const std::size_t width : {1u, 8u, 30u, 48u, 64u, 1000u}) {
      const GemmProblem problem({.num_bits = num_bits,
                                 .m = 5,
                                 .n = 35,
                                 .k = 1000,
                                 .group_width = width,
                                 .symmetric_weights = symmetric,
                                 .symmetric_activations = symmetric});
      const std::vector<float> y = problem.run(gemm);
      // One fma per group, its sum converted exactly or with one rounding; then x_scale and bias.
      const double roundings = 2.0 * static_cast<double>(problem.groups) + 2.0;
      const double unit = roundings * std::numeric_limits<float>::epsilon() / 2 * 1.01;
      for (std::size_t m = 0; m < problem.shape.m; ++m) {
        for (std::size_t n = 0; n < problem.shape.n; ++n) {
          const GemmProblem::Oracle expected = problem.oracle(m, n);
          EXPECT_NEAR(expected.value, y[m * problem.shape.n + n], unit * expected.magnitude)
              << "group width " << width << " row " << m << " column " << n;
        }
      }
    }
  }
}

}  // namespace fptq::kernels::testing
