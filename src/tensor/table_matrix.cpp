#include "tensor/table_matrix.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/check.h"
#include "numeric/code_table.h"

namespace fptq {

Result<TableMatrix> TableMatrix::create(std::size_t rows, std::size_t cols, const QuantArgs& args,
                                        Tensor codes, std::vector<float> absmax) {
  if (args.type == CodeType::kInt || args.num_bits != 4 || args.strategy != Strategy::kBlock ||
      !is_table_block_size(args.group_size)) {
    return Error{Error::Kind::kUnsupported,
                 "table: expected nf4 or fp4 in blocks of 32, 64, ... or 4096 weights, got " +
                     scheme_name({args, std::nullopt})};
  }
  const std::optional<std::size_t> count = element_count({rows, cols});
  if (!count || *count == 0) {
    return Error{Error::Kind::kFormat,
                 "table: expected a matrix with weights, got " + shape_text({rows, cols})};
  }
  if (codes.dtype() != DType::kU8 || codes.elements() != (*count + 1) / 2) {
    return Error{Error::Kind::kFormat,
                 "table: expected " + std::to_string((*count + 1) / 2) + " bytes of codes, got " +
                     std::string(dtype_name(codes.dtype())) + " " + shape_text(codes.shape())};
  }
  const std::size_t blocks = (*count + args.group_size - 1) / args.group_size;
  if (absmax.size() != blocks) {
    return Error{Error::Kind::kFormat, "table: expected " + std::to_string(blocks) +
                                           " constants, got " + std::to_string(absmax.size())};
  }
  const auto bad =
      std::find_if(absmax.begin(), absmax.end(), [](float c) { return !std::isfinite(c); });
  if (bad != absmax.end()) {
    return Error{Error::Kind::kFormat, "block " + std::to_string(bad - absmax.begin()) +
                                           ": expected a finite constant, got " +
                                           std::to_string(*bad)};
  }
  TableMatrix matrix;
  matrix.rows_ = rows;
  matrix.cols_ = cols;
  matrix.args_ = args;
  matrix.codes_ = std::move(codes);
  matrix.absmax_ = std::move(absmax);
  return matrix;
}

const std::uint8_t* TableMatrix::codes() const {
  return reinterpret_cast<const std::uint8_t*>(codes_.bytes().data());
}

std::uint64_t TableMatrix::bytes() const {
  return codes_.bytes().size() + absmax_.size() * sizeof(float);
}

void TableMatrix::read_row(std::size_t row, std::span<float> values) const {
  FPTQ_CHECK(row < rows_ && values.size() == cols_, "one row of the matrix");
  const auto table = code_table(args_.type);
  const std::uint8_t* const all_codes = codes();
  for (std::size_t k = 0; k < cols_; ++k) {
    const std::size_t e = row * cols_ + k;
    values[k] = table[table_code(all_codes, e)] * absmax_[e / args_.group_size];
  }
}

}  // namespace fptq
