// How the floating-point operands of kernels are stored.

#pragma once

#include <cstdint>

namespace fptq::kernels {

enum class ElementType : std::uint8_t {
  kF32,
  kBF16,
  kF16,
  kI8,  // only where a contract says so, together with its scale
};

}  // namespace fptq::kernels
