// Lanes of a Vec in another order. Include simd/vec_avx512.h before it.

#pragma once

#include <cstddef>

namespace fptq::kernels {
namespace {

// Lane i is lane i ^ kDistance of a.
template <std::size_t kDistance>
inline Vec swap_lanes(Vec a) {
  static_assert(kDistance == 1 || kDistance == 2 || kDistance == 4 || kDistance == 8);
  if constexpr (kDistance == 1) return {_mm512_permute_ps(a.v, 0xB1)};
  if constexpr (kDistance == 2) return {_mm512_permute_ps(a.v, 0x4E)};
  if constexpr (kDistance == 4) return {_mm512_shuffle_f32x4(a.v, a.v, 0xB1)};
  if constexpr (kDistance == 8) return {_mm512_shuffle_f32x4(a.v, a.v, 0x4E)};
}

}  // namespace
}  // namespace fptq::kernels
