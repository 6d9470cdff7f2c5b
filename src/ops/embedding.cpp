#include "ops/embedding.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace fptq::ops {

Result<Embedding> Embedding::dense(Tensor weight) {
  if (weight.shape().size() != 2) {
    return Error{Error::Kind::kFormat,
                 "embedding: expected a matrix, got shape " + shape_text(weight.shape())};
  }
  if (!is_float_weight_dtype(weight.dtype())) {
    return Error{Error::Kind::kUnsupported, "embedding: expected F32, F16 or BF16, got " +
                                                std::string(dtype_name(weight.dtype()))};
  }
  return Embedding(std::move(weight));
}

Embedding Embedding::quantized(PackedMatrix weight) {
  return Embedding(std::move(weight));
}

std::size_t Embedding::vocabulary() const {
  return std::visit([](const auto& weight) { return weight.rows(); }, weight_);
}

std::size_t Embedding::width() const {
  return std::visit([](const auto& weight) { return weight.cols(); }, weight_);
}

std::uint64_t Embedding::bytes() const {
  if (const auto* packed = std::get_if<PackedMatrix>(&weight_)) return packed->bytes();
  return std::get<Tensor>(weight_).bytes().size();
}

void Embedding::lookup(std::span<const std::int32_t> ids, float* out) const {
  for (const std::int32_t id : ids) {
    FPTQ_CHECK(id >= 0 && static_cast<std::size_t>(id) < vocabulary(),
               "a token outside the vocabulary");
    const auto row = static_cast<std::size_t>(id);
    if (const auto* packed = std::get_if<PackedMatrix>(&weight_)) {
      packed->read_row(row, {out, width()});
    } else {
      std::get<Tensor>(weight_).read_f32(row * width(), width(), out);
    }
    out += width();
  }
}

}  // namespace fptq::ops
