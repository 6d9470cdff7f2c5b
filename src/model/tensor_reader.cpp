#include "model/tensor_reader.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace fptq::model {
namespace {

constexpr std::array<DType, 3> kFloatTypes = {DType::kF32, DType::kF16, DType::kBF16};

std::string type_names(std::span<const DType> types) {
  std::string names;
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (i > 0) names += i + 1 == types.size() ? " or " : ", ";
    names += dtype_name(types[i]);
  }
  return names;
}

// Whether an element of a block has all exponent bits set. A loop without exits is vectorized.
template <typename Bits>
bool has_non_finite(const std::byte* bytes, std::size_t count, Bits exponent) {
  bool found = false;
  for (std::size_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, bytes + i * sizeof(Bits), sizeof(Bits));
    found |= (bits & exponent) == exponent;
  }
  return found;
}

bool has_non_finite(const Tensor& tensor, std::size_t begin, std::size_t end) {
  const std::byte* bytes = tensor.bytes().data() + begin * dtype_bytes(tensor.dtype());
  if (tensor.dtype() == DType::kF32) {
    return has_non_finite<std::uint32_t>(bytes, end - begin, 0x7f800000u);
  }
  return has_non_finite<std::uint16_t>(
      bytes, end - begin,
      static_cast<std::uint16_t>(tensor.dtype() == DType::kF16 ? 0x7c00u : 0x7f80u));
}

}  // namespace

std::optional<std::size_t> find_non_finite(const Tensor& tensor, ThreadPool& pool) {
  constexpr std::size_t kBlock = std::size_t{1} << 14;
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::atomic<std::size_t> first_block{kNone};
  pool.parallel_for(tensor.elements(), kBlock, [&](std::size_t begin, std::size_t end) {
    if (!has_non_finite(tensor, begin, end)) return;
    std::size_t known = first_block.load();
    while (begin < known && !first_block.compare_exchange_weak(known, begin)) {
    }
  });
  const std::size_t begin = first_block.load();
  if (begin == kNone) return std::nullopt;
  const std::size_t end = std::min(begin + kBlock, tensor.elements());
  for (std::size_t i = begin; i < end; ++i) {
    if (has_non_finite(tensor, i, i + 1)) return i;
  }
  return std::nullopt;
}

std::string TensorReader::where(const std::string& name) const {
  const io::TensorInfo* info = checkpoint_->find(name);
  const std::string file =
      info != nullptr && !info->file.empty() ? info->file : checkpoint_->path().string();
  return file + ": tensor \"" + name + "\"";
}

Result<Tensor> TensorReader::read_any(const std::string& name, std::span<const Shape> shapes,
                                      std::span<const DType> types) {
  const std::string expected =
      where(name) + ": expected " + shape_text(shapes.front()) + " from config.json, got ";
  const io::TensorInfo* info = checkpoint_->find(name);
  if (info == nullptr) {
    return Error{Error::Kind::kFormat,
                 expected + "no such tensor. Do config.json and the weights belong together?"};
  }
  if (std::find(shapes.begin(), shapes.end(), info->shape) == shapes.end()) {
    return Error{Error::Kind::kFormat,
                 expected + shape_text(info->shape) +
                     ". Do config.json and the weights belong to the same model?"};
  }
  if (std::find(types.begin(), types.end(), info->dtype) == types.end()) {
    return Error{Error::Kind::kUnsupported, where(name) + ": expected " + type_names(types) +
                                                ", got " + std::string(dtype_name(info->dtype))};
  }
  used_.insert(name);
  return checkpoint_->read(name);
}

Result<Tensor> TensorReader::read(const std::string& name, const Shape& shape,
                                  std::span<const DType> types) {
  return read_any(name, std::span(&shape, 1), types);
}

Result<Tensor> TensorReader::read_float(const std::string& name, const Shape& shape) {
  return read(name, shape, kFloatTypes);
}

Status TensorReader::check_finite(const std::string& name, const Tensor& tensor) const {
  const std::optional<std::size_t> index = find_non_finite(tensor, *pool_);
  if (!index) return {};
  float value = 0.0f;
  tensor.read_f32(*index, 1, &value);
  const std::string place = tensor.shape().size() == 2
                                ? "[" + std::to_string(*index / tensor.cols()) + ", " +
                                      std::to_string(*index % tensor.cols()) + "]"
                                : "[" + std::to_string(*index) + "]";
  return Error{Error::Kind::kFormat,
               where(name) + ": element " + place + ": expected a finite number, got " +
                   (std::isnan(value) ? "nan" : (value > 0.0f ? "inf" : "-inf"))};
}

std::vector<std::string> TensorReader::unused() const {
  std::vector<std::string> names;
  for (const io::TensorInfo& info : checkpoint_->tensors()) {
    if (used_.find(info.name) == used_.end()) names.push_back(info.name);
  }
  return names;
}

}  // namespace fptq::model
