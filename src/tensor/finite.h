// Finding weights that are no numbers.

#pragma once

#include <cstddef>
#include <optional>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace fptq {

// The index of the first element that is NaN or infinite, counted row-major; nothing where all
// are finite. tensor: F32, F16 or BF16; other types have no such values and give nothing.
[[nodiscard]] std::optional<std::size_t> find_non_finite(const Tensor& tensor, ThreadPool& pool);

}  // namespace fptq
