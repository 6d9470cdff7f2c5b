#include "quantize/transformed_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "quantize/tensor_writing.h"

namespace fptq::quantize {
namespace {

Status check_finite(const io::TensorInfo& info, std::span<const float> values, const char* when) {
  if (all_finite(values)) return {};
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  return Error{Error::Kind::kFormat, info.file + ": tensor \"" + info.name + "\": element " +
                                         std::to_string(bad - values.begin()) + when +
                                         ": expected a finite number, got " +
                                         (std::isnan(*bad) ? "nan" : (*bad < 0 ? "-inf" : "inf"))};
}

}  // namespace

TransformedCheckpoint::TransformedCheckpoint(const io::Checkpoint& base)
    : base_(base),
      config_(base.config()),
      warnings_(base.warnings().begin(), base.warnings().end()),
      infos_(base.tensors().begin(), base.tensors().end()) {}

void TransformedCheckpoint::change(const std::string& name, const std::string& source, Change how) {
  const io::TensorInfo* from = base_.find(source);
  FPTQ_CHECK(from != nullptr, "the tensor that is changed exists");
  io::TensorInfo info = *from;
  info.name = name;
  info.kept_as = from->kept_as.value_or(from->dtype);
  info.dtype = DType::kF32;
  const auto place = std::lower_bound(
      infos_.begin(), infos_.end(), name,
      [](const io::TensorInfo& known, const std::string& wanted) { return known.name < wanted; });
  if (place != infos_.end() && place->name == name) {
    *place = std::move(info);
  } else {
    infos_.insert(place, std::move(info));
  }
  changed_.insert_or_assign(name, Changed{source, std::move(how)});
}

void TransformedCheckpoint::replace(const std::string& name, Tensor tensor) {
  const auto place = std::find_if(infos_.begin(), infos_.end(),
                                  [&](const io::TensorInfo& info) { return info.name == name; });
  FPTQ_CHECK(place != infos_.end() && place->shape == tensor.shape(),
             "a tensor is replaced by one of its shape");
  place->dtype = tensor.dtype();
  place->kept_as = tensor.dtype();
  replaced_.insert_or_assign(name, std::move(tensor));
}

Result<Tensor> TransformedCheckpoint::read(std::string_view name) const {
  const auto replaced = replaced_.find(name);
  if (replaced != replaced_.end()) return replaced->second;
  const auto changed = changed_.find(name);
  if (changed == changed_.end()) return base_.read(name);
  const auto& [source, how] = changed->second;
  const io::TensorInfo& info = *base_.find(source);
  FPTQ_TRY(const Tensor tensor, base_.read(source));
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(DType::kF32, tensor.shape()));
  // Memory of create() is aligned to 64 bytes.
  const std::span<float> values(reinterpret_cast<float*>(fresh.data), tensor.elements());
  tensor.read_f32(0, values.size(), values.data());
  FPTQ_TRY_VOID(check_finite(info, values, ""));
  FPTQ_TRY_VOID(how(values, tensor.rows(), tensor.cols()));
  FPTQ_TRY_VOID(check_finite(info, values, ", transformed"));
  return fresh.tensor;
}

void TransformedCheckpoint::release(std::string_view name) const {
  if (replaced_.contains(name)) return;
  const auto changed = changed_.find(name);
  base_.release(changed == changed_.end() ? name : std::string_view(changed->second.source));
}

}  // namespace fptq::quantize
