// The compiled-in variants of attention, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/attention/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<AttentionFn>> attention_variants();

}  // namespace fptq::kernels
