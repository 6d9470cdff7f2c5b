#include "io/rope_order.h"

#include <cstring>

#include "base/check.h"

namespace fptq::io {

Result<Tensor> half_split_rows(const Tensor& rows, std::size_t heads) {
  FPTQ_CHECK(heads >= 1 && !rows.shape().empty(), "rows of at least one head");
  const std::size_t count = rows.shape()[0];
  if (count % heads != 0 || count / heads % 2 != 0) {
    return Error{Error::Kind::kFormat, "expected rows for " + std::to_string(heads) +
                                           " heads of an even width, got shape " +
                                           shape_text(rows.shape())};
  }
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(rows.dtype(), rows.shape()));
  if (rows.bytes().empty()) return std::move(fresh.tensor);
  const std::size_t head_width = count / heads;
  const std::size_t half = head_width / 2;
  const std::size_t row_bytes = rows.bytes().size() / count;
  for (std::size_t row = 0; row < count; ++row) {
    const std::size_t head_begin = row / head_width * head_width;
    const std::size_t within = row % head_width;
    const std::size_t source = head_begin + 2 * (within % half) + within / half;
    std::memcpy(fresh.data + row * row_bytes, rows.bytes().data() + source * row_bytes, row_bytes);
  }
  return std::move(fresh.tensor);
}

}  // namespace fptq::io
