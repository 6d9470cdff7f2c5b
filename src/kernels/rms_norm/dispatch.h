// The compiled-in variants of rms_norm, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/rms_norm/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<RmsNormFn>> rms_norm_variants();

}  // namespace fptq::kernels
