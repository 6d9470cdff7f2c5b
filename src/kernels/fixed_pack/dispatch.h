// The compiled-in variants of fixed_pack, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/fixed_pack/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<FixedPackFn>> fixed_pack_variants();

}  // namespace fptq::kernels
