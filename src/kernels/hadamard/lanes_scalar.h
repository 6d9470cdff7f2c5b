// Lanes of a Vec in another order. Include simd/vec_scalar.h before it.

#pragma once

#include <cstddef>

namespace fptq::kernels {
namespace {

// Lane i is lane i ^ kDistance of a.
template <std::size_t kDistance>
inline Vec swap_lanes(Vec a) {
  return vec_generate([&](std::size_t i) { return a.lane[i ^ kDistance]; });
}

}  // namespace
}  // namespace fptq::kernels
