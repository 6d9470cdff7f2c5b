#include "model/tensor_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "tensor/finite.h"

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

}  // namespace

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
