// The compiled-in variants of rope, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/rope/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<RopeFn>> rope_variants();

}  // namespace fptq::kernels
