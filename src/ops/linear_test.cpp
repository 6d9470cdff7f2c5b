#include "ops/linear.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "numeric/code_table.h"
#include "ops/embedding.h"
#include "ops/partition.h"

namespace fptq::ops {
namespace {

std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

// Every family that this CPU can run, scalar included.
std::vector<Isa> runnable_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kAmx,
                        Isa::kNeon, Isa::kI8mm}) {
    if (cpu_supports(isa)) isas.push_back(isa);
  }
  return isas;
}

QuantizedMatrix round_matrix(std::size_t rows, std::size_t cols, const QuantArgs& args) {
  return round_to_nearest(random_floats(rows * cols, 3), rows, cols, args, DType::kF16);
}

Linear quantized_linear(const QuantizedMatrix& matrix, const std::optional<QuantArgs>& activations,
                        const std::optional<Grid>& grid, const std::optional<Tensor>& bias,
                        Isa isa) {
  ThreadPool pool(1);
  auto packed = PackedMatrix::pack(matrix, pool);
  EXPECT_TRUE(packed) << packed.error().message;
  auto linear = Linear::quantized(*std::move(packed), activations, grid, bias, isa);
  EXPECT_TRUE(linear) << linear.error().message;
  return *std::move(linear);
}

std::vector<float> run(Linear& linear, const std::vector<float>& x, std::size_t threads) {
  ThreadPool pool(threads);
  const std::size_t rows = x.size() / linear.in_features();
  std::vector<float> y(rows * linear.out_features(), std::numeric_limits<float>::quiet_NaN());
  LinearInput input(x.data(), rows, linear.in_features());
  linear.forward(input, y.data(), pool);
  return y;
}

// y = x W^T + b of the dequantized operands, in double.
std::vector<double> oracle(const QuantizedMatrix& matrix,
                           const std::vector<QuantizedRow>& activations,
                           const std::vector<float>& bias) {
  const std::vector<float> weights = dequantize(matrix);
  std::vector<double> y;
  for (const QuantizedRow& row : activations) {
    for (std::size_t n = 0; n < matrix.rows; ++n) {
      double sum = 0.0;
      for (std::size_t k = 0; k < matrix.cols; ++k) {
        sum += static_cast<double>(weights[n * matrix.cols + k]) * (row.codes[k] - row.zero_point) *
               static_cast<double>(row.scale);
      }
      y.push_back(sum + static_cast<double>(bias[n]));
    }
  }
  return y;
}

struct Case {
  QuantArgs weights;
  QuantArgs activations;
  std::optional<Grid> grid;
  const char* scheme;
};

std::vector<Case> cases() {
  return {
      {int_weights(4, Strategy::kGroup, 32, false), a8_dynamic_per_token(), {}, "w4g32-a8t"},
      {int_weights(4, Strategy::kGroup, 128, true),
       a8_dynamic_per_token(false),
       {},
       "w4g128-sym-a8t-asym"},
      {int_weights(4, Strategy::kChannel, 0, true), a8_static_per_tensor(), Grid{0.025f, 0},
       "w4c-a8s"},
      {int_weights(4, Strategy::kGroup, 24, false), a8_dynamic_per_token(), {}, "w4g24-a8t"},
      {int_weights(8, Strategy::kChannel, 0, true), a8_dynamic_per_token(), {}, "w8c-a8t"},
      {int_weights(8, Strategy::kGroup, 64, false), a8_static_per_tensor(false), Grid{0.025f, -11},
       "w8g64-asym-a8s-asym"},
  };
}

TEST(QuantizedLinear, ComputesTheProductOfTheDequantizedOperands) {
  constexpr std::size_t kRows = 50;
  constexpr std::size_t kCols = 200;
  const std::vector<float> x = random_floats(3 * kCols, 4);
  const std::vector<float> bias = random_floats(kRows, 5);
  const Tensor bias_tensor = *Tensor::from_f32({kRows}, bias);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.scheme);
    const QuantizedMatrix matrix = round_matrix(kRows, kCols, c.weights);
    std::vector<QuantizedRow> rows;
    for (std::size_t m = 0; m < 3; ++m) {
      const std::span<const float> row = std::span(x).subspan(m * kCols, kCols);
      rows.push_back(c.grid ? quantize_row_static(row, *c.grid, c.activations.symmetric)
                            : quantize_row_dynamic(row, c.activations.symmetric));
    }
    const std::vector<double> expected = oracle(matrix, rows, bias);
    Linear linear = quantized_linear(matrix, c.activations, c.grid, bias_tensor, best_isa());
    EXPECT_EQ(c.scheme, linear.scheme());
    EXPECT_EQ(c.weights.num_bits == 4 ? "w4a8_gemm" : "w8a8_gemm", linear.kernel());
    const std::vector<float> y = run(linear, x, 2);
    EXPECT_EQ(1U, linear.calls());
    // |y| is about sqrt(200) here; a few roundings of float32 of that magnitude.
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(expected[i], y[i], 1e-4) << i;
  }
}

TEST(QuantizedLinear, HasTheSameBitsOnEveryIsaThreadCountAndBatch) {
  constexpr std::size_t kCols = 200;
  constexpr std::size_t kTokens = 131;
  const std::vector<float> x = random_floats(kTokens * kCols, 6);
  std::vector<Case> all = cases();
  for (std::size_t i = 0; i <= all.size(); ++i) {
    // The last case keeps activations in float.
    const Case& c = all[i == all.size() ? 0 : i];
    const std::optional<QuantArgs> activations =
        i == all.size() ? std::nullopt : std::optional(c.activations);
    SCOPED_TRACE(::testing::Message() << "case " << i);
    const QuantizedMatrix matrix = round_matrix(83, kCols, c.weights);
    Linear reference = quantized_linear(matrix, activations, c.grid, {}, Isa::kScalar);
    EXPECT_EQ(Isa::kScalar, reference.isa());
    const std::vector<float> expected = run(reference, x, 1);
    for (const Isa isa : runnable_isas()) {
      Linear linear = quantized_linear(matrix, activations, c.grid, {}, isa);
      for (const std::size_t threads : {1u, 2u, 3u}) EXPECT_EQ(expected, run(linear, x, threads));
      for (const std::size_t tokens : {1u, 5u}) {
        const std::vector<float> part(x.end() - static_cast<std::ptrdiff_t>(tokens * kCols),
                                      x.end());
        EXPECT_EQ(std::vector<float>(expected.end() - static_cast<std::ptrdiff_t>(tokens * 83),
                                     expected.end()),
                  run(linear, part, 2));
      }
    }
  }
}

TEST(QuantizedLinear, ReportsTheKernelThatReallyRuns) {
  const QuantArgs w4g24 = int_weights(4, Strategy::kGroup, 24, true);
  const Linear odd =
      quantized_linear(round_matrix(16, 96, w4g24), a8_dynamic_per_token(), {}, {}, best_isa());
  EXPECT_EQ(Isa::kScalar, odd.isa());
  const Linear weights_only = quantized_linear(round_matrix(16, 96, w4g24), {}, {}, {}, best_isa());
  EXPECT_EQ("w4a16_gemm", weights_only.kernel());
  EXPECT_EQ("w4g24-sym", weights_only.scheme());
}

TEST(QuantizedLinear, KeepsANanInItsOwnRow) {
  const QuantizedMatrix matrix = round_matrix(20, 64, int_weights(4, Strategy::kGroup, 32, false));
  Linear linear = quantized_linear(matrix, a8_dynamic_per_token(), {}, {}, best_isa());
  std::vector<float> x = random_floats(3 * 64, 8);
  x[64 + 5] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> y = run(linear, x, 1);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(i / 20 == 1, std::isnan(y[i])) << i;
}

TEST(QuantizedLinear, RefusesActivationsThatItCannotRun) {
  ThreadPool pool(1);
  const auto error = [&](const QuantArgs& activations, std::optional<Grid> grid) {
    auto packed =
        PackedMatrix::pack(round_matrix(16, 32, int_weights(8, Strategy::kChannel, 0, true)), pool);
    const auto linear = Linear::quantized(*std::move(packed), activations, grid, {}, best_isa());
    return linear ? "no error" : linear.error().message;
  };
  QuantArgs four_bits = a8_dynamic_per_token();
  four_bits.num_bits = 4;
  EXPECT_EQ(
      "activations: expected 8-bit integers, dynamic per token or static per tensor, got 4 bits, "
      "dynamic per token",
      error(four_bits, {}));
  EXPECT_EQ("activations: expected a static scale, got none", error(a8_static_per_tensor(), {}));
  EXPECT_EQ("activations: expected a positive static scale, got 0.000000",
            error(a8_static_per_tensor(), Grid{0.0f, 0}));
  EXPECT_EQ("activations: expected a zero point of 0, got 3",
            error(a8_static_per_tensor(), Grid{0.1f, 3}));
  EXPECT_EQ("activations: expected a zero point from -128 to 127, got 200",
            error(a8_static_per_tensor(false), Grid{0.1f, 200}));
}

TEST(DenseLinear, MultipliesAndAddsTheBias) {
  const std::vector<float> weights = {1, 2, 3, 4, 5, 6};
  auto linear = Linear::dense(*Tensor::from_f32({2, 3}, weights),
                              *Tensor::from_f32({2}, std::vector<float>{10, 20}), best_isa());
  ASSERT_TRUE(linear);
  EXPECT_EQ("f32", linear->scheme());
  EXPECT_EQ("dense_gemm", linear->kernel());
  EXPECT_EQ(6U * 4 + 2 * 4, linear->bytes());
  EXPECT_EQ((std::vector<float>{11, 24, 16, 35}), run(*linear, {1, 0, 0, 1, 1, 1}, 2));
}

TEST(DenseLinear, HasTheSameBitsOnEveryIsaThreadCountAndBatch) {
  const Tensor weight = *Tensor::from_f32({83, 200}, random_floats(83 * 200, 1));
  const std::vector<float> x = random_floats(40 * 200, 2);
  std::vector<float> expected;
  for (const Isa isa : runnable_isas()) {
    Linear linear = *Linear::dense(weight, {}, isa);
    for (const std::size_t threads : {1u, 2u, 3u}) {
      const std::vector<float> y = run(linear, x, threads);
      if (expected.empty()) expected = y;
      EXPECT_EQ(expected, y);
    }
    const std::vector<float> last(x.end() - 200, x.end());
    EXPECT_EQ(std::vector<float>(expected.end() - 83, expected.end()), run(linear, last, 1));
  }
}

TEST(DenseLinear, RefusesShapesThatDoNotFit) {
  const Tensor vector = *Tensor::from_f32({4}, std::vector<float>(4));
  EXPECT_EQ("weight: expected a matrix, got shape [4]",
            Linear::dense(vector, {}, best_isa()).error().message);
  const Tensor matrix = *Tensor::from_f32({2, 2}, std::vector<float>(4));
  EXPECT_EQ("bias: expected [2], got [4]",
            Linear::dense(matrix, vector, best_isa()).error().message);
}

TEST(FixedPointLinear, IsCloseToTheDenseLinearWithTheSameWeights) {
  constexpr std::size_t kRows = 83;
  constexpr std::size_t kCols = 200;
  const Tensor weight = *Tensor::from_f32({kRows, kCols}, random_floats(kRows * kCols, 1));
  const Tensor bias = *Tensor::from_f32({kRows}, random_floats(kRows, 2));
  std::vector<float> x = random_floats(300 * kCols, 3);
  for (std::size_t i = 0; i < kCols; ++i) x[i] *= 1000;  // a token has no part in another's scale
  Linear dense = *Linear::dense(weight, bias, best_isa());
  Linear fixed = *Linear::fixed_point(weight, bias, best_isa());
  EXPECT_EQ("fixed14", fixed.scheme());
  EXPECT_EQ("fixed_gemm", fixed.kernel());
  // 200 numbers in 4 blocks of 64, 83 channels in 6 of 16; scales and bias.
  EXPECT_EQ(256U * 96 * 2 + kRows * 8, fixed.bytes());
  const std::vector<float> expected = run(dense, x, 1);
  const std::vector<float> y = run(fixed, x, 2);
  for (std::size_t i = 0; i < y.size(); ++i) {
    // Inputs and weights reach 5: each of 200 terms is off by at most 2 * 5 * (5 / 8127) / 2, and
    // errors are as often up as down.
    const double size = i < kRows ? 1000 : 1;
    EXPECT_NEAR(expected[i], y[i], 0.02 * size) << i;
  }
}

TEST(FixedPointLinear, HasTheSameBitsOnEveryIsaThreadCountAndBatch) {
  const Tensor weight = *Tensor::from_f32({83, 200}, random_floats(83 * 200, 1));
  const std::vector<float> x = random_floats(40 * 200, 2);
  std::vector<float> expected;
  for (const Isa isa : runnable_isas()) {
    Linear linear = *Linear::fixed_point(weight, {}, isa);
    for (const std::size_t threads : {1u, 2u, 3u}) {
      const std::vector<float> y = run(linear, x, threads);
      if (expected.empty()) expected = y;
      EXPECT_EQ(expected, y);
    }
    const std::vector<float> last(x.end() - 200, x.end());
    EXPECT_EQ(std::vector<float>(expected.end() - 83, expected.end()), run(linear, last, 1));
  }
}

TEST(FixedPointLinear, KeepsANanInItsOwnRowAndRefusesShapesThatDoNotFit) {
  const Tensor weight = *Tensor::from_f32({2, 2}, std::vector<float>{1, 2, 3, 4});
  Linear linear = *Linear::fixed_point(weight, {}, best_isa());
  const std::vector<float> y = run(linear, {std::nanf(""), 1, 1, 1}, 1);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_TRUE(std::isnan(y[1]));
  EXPECT_NEAR(3, y[2], 1e-3);
  const Tensor vector = *Tensor::from_f32({4}, std::vector<float>(4));
  EXPECT_EQ("weight: expected a matrix, got shape [4]",
            Linear::fixed_point(vector, {}, best_isa()).error().message);
}

TEST(TableLinear, HasTheBitsOfADenseLinearWithTheSameWeights) {
  // Rows that blocks straddle, odd rows, and rows of whole blocks.
  for (const std::size_t cols : {96u, 33u, 128u}) {
    const std::size_t rows = 37;
    const std::size_t weights = rows * cols;
    Rng rng(5);
    Tensor::Fresh codes = *Tensor::create(DType::kU8, {(weights + 1) / 2, 1});
    for (std::size_t i = 0; i < (weights + 1) / 2; ++i) {
      codes.data[i] = static_cast<std::byte>(rng.below(256));
    }
    std::vector<float> absmax = random_floats((weights + 63) / 64, 6);
    const auto matrix = TableMatrix::create(rows, cols, table_weights(CodeType::kNf4, 64, true),
                                            codes.tensor, absmax);
    ASSERT_TRUE(matrix) << matrix.error().message;
    std::vector<float> dense(weights);
    for (std::size_t n = 0; n < rows; ++n) {
      matrix->read_row(n, std::span(dense).subspan(n * cols, cols));
    }
    const Tensor bias = *Tensor::from_f32({rows}, random_floats(rows, 7));
    Linear reference = *Linear::dense(*Tensor::from_f32({rows, cols}, dense), bias, Isa::kScalar);
    for (const Isa isa : runnable_isas()) {
      Linear linear = *Linear::table(*matrix, bias, isa);
      EXPECT_EQ("nf4b64-dq", linear.scheme());
      EXPECT_EQ("nf4a16_gemm", linear.kernel());
      EXPECT_EQ(matrix->bytes() + rows * sizeof(float), linear.bytes());
      for (const std::size_t tokens : {1u, 3u, 20u}) {
        const std::vector<float> x = random_floats(tokens * cols, 8);
        EXPECT_EQ(run(reference, x, 1), run(linear, x, 2)) << isa_name(isa) << " " << cols;
      }
    }
  }
}

TEST(LinearInput, QuantizesEachFormOnceAndForgetsOnAssign) {
  ThreadPool pool(1);
  std::vector<float> x = random_floats(2 * 40, 3);
  LinearInput input(x.data(), 2, 40);
  const kernels::ActivationGrid dynamic{};
  const kernels::ActivationGrid fixed{.dynamic = false, .static_scale = 0.1f};
  const auto* first = input.quantized(dynamic, best_isa(), pool).codes;
  EXPECT_NE(first, input.quantized(fixed, best_isa(), pool).codes);
  EXPECT_EQ(first, input.quantized(dynamic, best_isa(), pool).codes);
  const int before = first[0];
  x[0] = 0.0f;
  EXPECT_EQ(before, input.quantized(dynamic, best_isa(), pool).codes[0]);
  input.assign(x.data(), 2, 40);
  EXPECT_EQ(0, input.quantized(dynamic, best_isa(), pool).codes[0]);
}

TEST(IntegerTiles, CoverEveryTokenAndBlockOnce) {
  for (const std::size_t tokens : {1u, 7u, 96u, 500u}) {
    for (const std::size_t channels : {1u, 48u, 192u, 4096u}) {
      for (const std::size_t threads : {1u, 2u, 16u}) {
        const IntegerTiles tiles = integer_tiles(tokens, channels, 576, threads);
        const std::size_t blocks = (channels + 15) / 16;
        std::vector<int> covered(tokens * blocks);
        for (std::size_t i = 0; i < tiles.count(); ++i) {
          const IntegerTiles::Tile tile = tiles[i];
          for (std::size_t t = tile.token_begin; t < tile.token_end; ++t) {
            for (std::size_t b = tile.block_begin; b < tile.block_end; ++b) {
              ++covered[t * blocks + b];
            }
          }
        }
        EXPECT_EQ(std::vector<int>(tokens * blocks, 1), covered)
            << tokens << " tokens, " << channels << " channels, " << threads << " threads";
      }
    }
  }
}

TEST(Embedding, LooksUpRowsOfDenseAndQuantizedMatrices) {
  ThreadPool pool(1);
  const std::vector<std::int32_t> ids = {3, 0, 3};
  const QuantizedMatrix matrix = round_matrix(5, 24, int_weights(8, Strategy::kChannel, 0, true));
  const std::vector<float> values = dequantize(matrix);
  std::vector<float> expected;
  for (const std::int32_t id : ids) {
    expected.insert(expected.end(), values.begin() + id * 24, values.begin() + (id + 1) * 24);
  }
  const Embedding quantized = Embedding::quantized(*PackedMatrix::pack(matrix, pool));
  std::vector<float> rows(3 * 24);
  quantized.lookup(ids, rows.data());
  EXPECT_EQ(expected, rows);
  const auto dense = Embedding::dense(*Tensor::from_f32({5, 24}, values));
  ASSERT_TRUE(dense);
  EXPECT_EQ(5U, dense->vocabulary());
  EXPECT_EQ(24U, dense->width());
  std::fill(rows.begin(), rows.end(), 0.0f);
  dense->lookup(ids, rows.data());
  EXPECT_EQ(expected, rows);
}

}  // namespace
}  // namespace fptq::ops
