// Lanes of a Vec in another order. Include simd/vec_avx2.h before it.

#pragma once

#include <cstddef>

namespace fptq::kernels {
namespace {

// Lane i is lane i ^ kDistance of a.
template <std::size_t kDistance>
inline Vec swap_lanes(Vec a) {
  static_assert(kDistance == 1 || kDistance == 2 || kDistance == 4);
  if constexpr (kDistance == 1) return {_mm256_permute_ps(a.v, 0xB1)};
  if constexpr (kDistance == 2) return {_mm256_permute_ps(a.v, 0x4E)};
  if constexpr (kDistance == 4) return {_mm256_permute2f128_ps(a.v, a.v, 0x01)};
}

}  // namespace
}  // namespace fptq::kernels
