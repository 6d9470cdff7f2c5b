// A matrix of 4-bit codes of a table (NF4, FP4), as bitsandbytes stores it and kernels read it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "numeric/scheme.h"
#include "tensor/tensor.h"

namespace fptq {

// w[n, k] = table[code e] * absmax[e / block size], e = n * K + k: blocks take no notice of rows.
// Copying copies the constants and shares the codes, which never change.
class TableMatrix {
 public:
  TableMatrix() = default;

  //   rows, cols  [N, K]
  //   args        kNf4 or kFp4 with its block size
  //   codes       U8 of ceil(N * K / 2) bytes, the first of two codes in the high bits; may lie in
  //               a mapped file and is not copied
  //   absmax      [ceil(N * K / block size)], finite
  // Errors: kUnsupported for other args; kFormat for other sizes or types, and naming the first
  // block whose constant is not finite.
  [[nodiscard]] static Result<TableMatrix> create(std::size_t rows, std::size_t cols,
                                                  const QuantArgs& args, Tensor codes,
                                                  std::vector<float> absmax);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t cols() const { return cols_; }
  [[nodiscard]] const QuantArgs& args() const { return args_; }
  [[nodiscard]] const std::uint8_t* codes() const;
  [[nodiscard]] std::span<const float> absmax() const { return absmax_; }
  // Bytes of codes and constants.
  [[nodiscard]] std::uint64_t bytes() const;

  // values [cols]: one row, one rounding each.
  void read_row(std::size_t row, std::span<float> values) const;

 private:
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  QuantArgs args_;
  Tensor codes_;
  std::vector<float> absmax_;
};

}  // namespace fptq
