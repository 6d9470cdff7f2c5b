#include "tensor/table_matrix.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>

#include "numeric/code_table.h"

namespace fptq {
namespace {

Tensor codes_tensor(const std::vector<std::uint8_t>& codes) {
  Tensor::Fresh fresh = *Tensor::create(DType::kU8, {codes.size(), 1});
  std::memcpy(fresh.data, codes.data(), codes.size());
  return fresh.tensor;
}

const QuantArgs kNf4 = table_weights(CodeType::kNf4, 32, false);

TEST(TableMatrix, BlocksRunAcrossRows) {
  // 3 rows of 15: the second block begins at [2, 2].
  std::vector<std::uint8_t> codes(23, 0xFF);
  const auto matrix = TableMatrix::create(3, 15, kNf4, codes_tensor(codes), {2.0f, 3.0f});
  ASSERT_TRUE(matrix) << matrix.error().message;
  std::vector<float> row(15);
  matrix->read_row(2, row);
  EXPECT_EQ(2.0f, row[1]);
  EXPECT_EQ(3.0f, row[2]);
  EXPECT_EQ(23u + 8u, matrix->bytes());
}

TEST(TableMatrix, ReadsTheHighBitsFirst) {
  const auto matrix = TableMatrix::create(1, 3, kNf4, codes_tensor({0x0F, 0x80}), {1.0f});
  std::vector<float> row(3);
  matrix->read_row(0, row);
  EXPECT_EQ((std::vector<float>{-1.0f, 1.0f, 0.07958029955625534f}), row);
}

TEST(TableMatrix, RefusesWhatDoesNotFit) {
  const auto message = [](std::size_t rows, std::size_t cols, const QuantArgs& args,
                          const Tensor& codes, const std::vector<float>& absmax) {
    const auto matrix = TableMatrix::create(rows, cols, args, codes, absmax);
    return matrix ? std::string() : matrix.error().message;
  };
  const Tensor codes = codes_tensor(std::vector<std::uint8_t>(32));
  EXPECT_EQ("", message(2, 32, kNf4, codes, {1.0f, 1.0f}));
  EXPECT_EQ("table: expected 33 bytes of codes, got U8 [32, 1]",
            message(2, 33, kNf4, codes, {1.0f, 1.0f, 1.0f}));
  EXPECT_EQ("table: expected 2 constants, got 1", message(2, 32, kNf4, codes, {1.0f}));
  EXPECT_EQ("table: expected a matrix with weights, got [0, 32]", message(0, 32, kNf4, codes, {}));
  EXPECT_EQ("block 1: expected a finite constant, got nan",
            message(2, 32, kNf4, codes, {1.0f, std::numeric_limits<float>::quiet_NaN()}));
  EXPECT_EQ("table: expected nf4 or fp4 in blocks of 32, 64, ... or 4096 weights, got nf4b48",
            message(2, 32, table_weights(CodeType::kNf4, 48, false), codes, {1.0f, 1.0f}));
  EXPECT_EQ("table: expected nf4 or fp4 in blocks of 32, 64, ... or 4096 weights, got w4g32-sym",
            message(2, 32, int_weights(4, Strategy::kGroup, 32, true), codes, {1.0f, 1.0f}));
}

}  // namespace
}  // namespace fptq
