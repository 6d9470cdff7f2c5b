// Tensors for the tests of this module.

#pragma once

#include <cstring>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "numeric/dtype.h"
#include "tensor/tensor.h"

namespace fptq::quantize {

// A tensor of that type holding `values`, rounded where the type is narrower.
inline Tensor make_tensor(DType dtype, Shape shape, const std::vector<float>& values) {
  auto fresh = *Tensor::create(dtype, std::move(shape));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(fresh.data + 4 * i, &values[i], 4);
    } else {
      const std::uint16_t bits =
          dtype == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      std::memcpy(fresh.data + 2 * i, &bits, 2);
    }
  }
  return fresh.tensor;
}

// Normal weights of standard deviation 0.05.
inline std::vector<float> random_weights(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal() * 0.05);
  return values;
}

}  // namespace fptq::quantize
