// The compiled-in variants of the roofline probe, most capable first.

#pragma once

#include <span>

#include "kernels/roofline_probe/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<const RooflineProbe*>> roofline_probe_variants();

}  // namespace fptq::kernels
