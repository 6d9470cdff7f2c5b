// Lanes of a Vec in another order. Include simd/vec_neon.h before it.

#pragma once

#include <cstddef>

namespace fptq::kernels {
namespace {

// Lane i is lane i ^ kDistance of a.
template <std::size_t kDistance>
inline Vec swap_lanes(Vec a) {
  static_assert(kDistance == 1 || kDistance == 2);
  if constexpr (kDistance == 1) return {vrev64q_f32(a.v)};
  if constexpr (kDistance == 2) return {vextq_f32(a.v, a.v, 2)};
}

}  // namespace
}  // namespace fptq::kernels
