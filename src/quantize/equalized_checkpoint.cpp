#include "quantize/equalized_checkpoint.h"

#include <cmath>
#include <cstring>
#include <string>

#include "algo/equalization.h"
#include "numeric/dtype.h"

namespace fptq::quantize {
namespace {

float rounded_to(DType dtype, float value) {
  if (dtype == DType::kF16) return f16_to_f32(f32_to_f16(value));
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  return value;
}

// The smallest normal number: 2^-14 for float16, 2^-126 for the others.
float least_normal(DType dtype) {
  return std::ldexp(1.0f, dtype == DType::kF16 ? -14 : -126);
}

Result<Tensor> vector_of(DType dtype, std::span<const float> values) {
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(dtype, {values.size()}));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(fresh.data + i * sizeof(float), &values[i], sizeof(float));
      continue;
    }
    const std::uint16_t bits =
        dtype == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    std::memcpy(fresh.data + i * sizeof(bits), &bits, sizeof(bits));
  }
  return fresh.tensor;
}

}  // namespace

std::string norm_weight_name(std::size_t layer, model::BlockInput input) {
  return "model.layers." + std::to_string(layer) +
         (input == model::BlockInput::kAttention ? ".input_layernorm.weight"
                                                 : ".post_attention_layernorm.weight");
}

Result<std::unique_ptr<EqualizedCheckpoint>> EqualizedCheckpoint::create(
    const io::Checkpoint& base, const model::LlamaConfig& config, const InputScales& scales) {
  std::unique_ptr<EqualizedCheckpoint> made(new EqualizedCheckpoint(base));
  for (const auto& [place, factors] : scales) {
    const auto& [layer, input] = place;
    const std::string where = "factors of " + norm_weight_name(layer, input) + ": ";
    if (!follows_norm(input) || layer >= config.num_layers ||
        factors.size() != config.hidden_size) {
      return Error{Error::Kind::kInvalidArgument,
                   where + "expected " + std::to_string(config.hidden_size) +
                       " for an input of the model behind a norm, got " +
                       std::to_string(factors.size())};
    }
    for (std::size_t k = 0; k < factors.size(); ++k) {
      if (std::isfinite(factors[k]) && factors[k] > 0.0f) continue;
      return Error{Error::Kind::kInvalidArgument, where + "channel " + std::to_string(k) +
                                                      ": expected a finite number above 0, got " +
                                                      std::to_string(factors[k])};
    }
    FPTQ_TRY_VOID(made->equalize(layer, input, factors));
  }
  return made;
}

Status EqualizedCheckpoint::equalize(std::size_t layer, model::BlockInput input,
                                     const std::vector<float>& scales) {
  const std::string norm = norm_weight_name(layer, input);
  FPTQ_TRY(const Tensor gamma, base_.read(norm));
  if (gamma.shape() != Shape{scales.size()} || !is_float_weight_dtype(gamma.dtype())) {
    return Error{Error::Kind::kFormat,
                 base_.path().string() + ": tensor \"" + norm + "\": expected floats of shape " +
                     shape_text({scales.size()}) + ", got " +
                     std::string(dtype_name(gamma.dtype())) + " " + shape_text(gamma.shape())};
  }
  std::vector<float> values = gamma.to_f32();
  std::vector<float> effective(scales.size(), 1.0f);
  for (std::size_t k = 0; k < scales.size(); ++k) {
    const float divided = rounded_to(gamma.dtype(), values[k] / scales[k]);
    const float factor = values[k] / divided;
    const bool fits = std::abs(divided) >= least_normal(gamma.dtype()) && std::isfinite(divided);
    if (!fits || !std::isnormal(factor)) continue;
    effective[k] = factor;
    values[k] = divided;
  }
  FPTQ_TRY(Tensor equalized, vector_of(gamma.dtype(), values));
  replace(norm, std::move(equalized));
  const auto shared = std::make_shared<const std::vector<float>>(std::move(effective));
  for (const model::BlockLinear linear : model::readers_of(input)) {
    const std::string name = model::block_module_name(layer, linear) + ".weight";
    if (base_.find(name) == nullptr || base_.find(name)->shape.back() != scales.size()) {
      return Error{Error::Kind::kFormat, base_.path().string() + ": tensor \"" + name +
                                             "\": expected " + std::to_string(scales.size()) +
                                             " columns, as config.json says"};
    }
    change(name, name, [shared](std::span<float> values_of, std::size_t, std::size_t) -> Status {
      algo::scale_columns(values_of, *shared);
      return {};
    });
  }
  return {};
}

}  // namespace fptq::quantize
