#include "tensor/packed_matrix.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "base/rng.h"

namespace fptq {
namespace {

// Random codes, zero points and scales, all that the scheme allows.
QuantizedMatrix random_matrix(std::size_t rows, std::size_t cols, const QuantArgs& args,
                              DType scale_dtype) {
  Rng rng(rows * 1000 + cols);
  QuantizedMatrix matrix{rows, cols, args, scale_dtype, {}, {}, {}};
  const auto code = [&] {
    return static_cast<std::int8_t>(lowest_code(args.num_bits) +
                                    static_cast<int>(rng.below(1U << args.num_bits)));
  };
  matrix.codes.resize(rows * cols);
  matrix.scales.resize(rows * matrix.groups());
  if (!args.symmetric) matrix.zero_points.resize(matrix.scales.size());
  for (std::int8_t& value : matrix.codes) value = code();
  for (std::int8_t& value : matrix.zero_points) value = code();
  for (float& scale : matrix.scales) {
    scale = bf16_to_f32(f32_to_bf16(static_cast<float>(rng.uniform() + 0.5)));
  }
  return matrix;
}

TEST(PackedMatrix, GivesBackWhatWasPacked) {
  ThreadPool pool(2);
  for (const int num_bits : {4, 8}) {
    for (const bool symmetric : {false, true}) {
      for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
        for (const std::size_t width : {5u, 32u, 64u, 0u}) {
          const Strategy strategy = width == 0 ? Strategy::kChannel : Strategy::kGroup;
          const QuantizedMatrix matrix =
              random_matrix(35, 77, int_weights(num_bits, strategy, width, symmetric), dtype);
          const auto packed = PackedMatrix::pack(matrix, pool);
          ASSERT_TRUE(packed) << packed.error().message;
          const QuantizedMatrix unpacked = packed->unpack();
          EXPECT_EQ(matrix.codes, unpacked.codes);
          EXPECT_EQ(matrix.scales, unpacked.scales);
          EXPECT_EQ(matrix.zero_points, unpacked.zero_points);
          const std::vector<float> values = dequantize(matrix);
          std::vector<float> row(matrix.cols);
          for (std::size_t n = 0; n < matrix.rows; ++n) {
            packed->read_row(n, row);
            for (std::size_t k = 0; k < matrix.cols; ++k) {
              ASSERT_EQ(values[n * matrix.cols + k], row[k]) << "row " << n << " column " << k;
            }
          }
        }
      }
    }
  }
}

TEST(PackedMatrix, TakesFourAndAHalfBitsAWeightInSymmetricGroupsOf32) {
  const PackedMatrixSpec spec{2048, 2048, int_weights(4, Strategy::kGroup, 32, true), DType::kF16};
  EXPECT_EQ(2048U * 2048U * 9U / 16U, PackedMatrix::packed_bytes(spec));
}

TEST(PackedMatrix, CallsTheSourceOnceForEveryRow) {
  ThreadPool pool(3);
  std::vector<int> calls(100);
  const PackedMatrixSpec spec{100, 8, int_weights(8, Strategy::kChannel, 0, true), DType::kF32};
  ASSERT_TRUE(PackedMatrix::pack(
      spec,
      [&](std::size_t row, const PackedMatrixRow& out) -> Status {
        ++calls[row];
        out.scales[0] = 1.0f;
        return {};
      },
      pool));
  EXPECT_EQ(std::vector<int>(100, 1), calls);
}

// The message of packing one row of two groups of 8 that `fill` writes.
std::string error_of_row(int num_bits, bool symmetric, DType dtype,
                         const std::function<Status(const PackedMatrixRow&)>& fill) {
  ThreadPool pool(1);
  const PackedMatrixSpec spec{3, 16, int_weights(num_bits, Strategy::kGroup, 8, symmetric), dtype};
  const auto result = PackedMatrix::pack(
      spec,
      [&](std::size_t row, const PackedMatrixRow& out) -> Status {
        std::fill(out.codes.begin(), out.codes.end(), std::int8_t{1});
        std::fill(out.scales.begin(), out.scales.end(), 0.5f);
        std::fill(out.zero_points.begin(), out.zero_points.end(), std::int8_t{0});
        return row == 1 ? fill(out) : Status();
      },
      pool);
  return result ? "no error" : result.error().message;
}

TEST(PackedMatrix, NamesTheRowAndGroupThatBreakTheRules) {
  EXPECT_EQ("row 1, code 9: expected -8 to 7, got 8",
            error_of_row(4, true, DType::kF32, [](const PackedMatrixRow& out) -> Status {
              out.codes[9] = 8;
              return {};
            }));
  EXPECT_EQ("row 1, zero point of group 1: expected -8 to 7, got -9",
            error_of_row(4, false, DType::kF32, [](const PackedMatrixRow& out) -> Status {
              out.zero_points[1] = -9;
              return {};
            }));
  EXPECT_EQ("row 1, scale of group 0: expected a finite number, got nan",
            error_of_row(4, true, DType::kF32, [](const PackedMatrixRow& out) -> Status {
              out.scales[0] = std::numeric_limits<float>::quiet_NaN();
              return {};
            }));
  EXPECT_EQ("row 1, scale of group 1: expected a F16 number, got 100000.000000",
            error_of_row(4, true, DType::kF16, [](const PackedMatrixRow& out) -> Status {
              out.scales[1] = 100000.0f;
              return {};
            }));
  EXPECT_EQ("disk on fire",
            error_of_row(8, true, DType::kF32, [](const PackedMatrixRow&) -> Status {
              return Error{Error::Kind::kIo, "disk on fire"};
            }));
}

std::string error_of_spec(const PackedMatrixSpec& spec) {
  ThreadPool pool(1);
  const auto result = PackedMatrix::pack(
      spec, [](std::size_t, const PackedMatrixRow&) { return Status(); }, pool);
  if (result) return "no error";
  EXPECT_EQ(Error::Kind::kUnsupported, result.error().kind);
  return result.error().message;
}

TEST(PackedMatrix, RefusesSchemesThatItCannotHold) {
  const QuantArgs w4 = int_weights(4, Strategy::kGroup, 32, true);
  QuantArgs nf4 = w4;
  nf4.type = CodeType::kNf4;
  EXPECT_NE(std::string::npos,
            error_of_spec({1, 64, nf4, DType::kF32}).find("expected integer codes of 4 or 8 bits"));
  EXPECT_EQ("packed matrix: expected a scale per channel or group, got per token",
            error_of_spec({1, 64, int_weights(4, Strategy::kToken, 0, true), DType::kF32}));
  EXPECT_EQ("packed matrix: expected a group size of at least 1, got 0",
            error_of_spec({1, 64, int_weights(4, Strategy::kGroup, 0, true), DType::kF32}));
  EXPECT_EQ("packed matrix: expected scales in F32, F16 or BF16, got I32",
            error_of_spec({1, 64, w4, DType::kI32}));
  EXPECT_EQ(
      "packed matrix: a sum over 70000 inputs of 8-bit weights may not fit 32 bits; use smaller "
      "groups",
      error_of_spec({1, 70000, int_weights(8, Strategy::kChannel, 0, true), DType::kF32}));
}

TEST(PackedMatrix, SumsWholeRowsOfUpTo131072FourBitWeights) {
  ThreadPool pool(1);
  const PackedMatrixSpec spec{1, 131072, int_weights(4, Strategy::kChannel, 0, false), DType::kF32};
  EXPECT_TRUE(PackedMatrix::pack(
      spec,
      [](std::size_t, const PackedMatrixRow& out) -> Status {
        out.scales[0] = 1.0f;
        return {};
      },
      pool));
}

}  // namespace
}  // namespace fptq
