// The compiled-in variants of quadratic_form, fastest first; the last one runs everywhere.

#pragma once

#include <span>

#include "kernels/quadratic_form/contract.h"
#include "kernels/variant.h"

namespace fptq::kernels {

[[nodiscard]] std::span<const Variant<QuadraticFormFn>> quadratic_form_variants();

}  // namespace fptq::kernels
