// The compiled-in variants of vector_exp, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/variant.h"
#include "kernels/vector_exp/contract.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<VectorExpFn>> vector_exp_variants();

}  // namespace fptq::kernels
