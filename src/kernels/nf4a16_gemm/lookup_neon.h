// Looking 4-bit codes up in a table with NEON. lookup_scalar.h says what each function means.

#pragma once

#include "kernels/simd/vec_neon.h"
// Written over the Vec that the line above defines.
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// tbl looks bytes up: the 64 bytes of the entries.
struct ScaledTable {
  uint8x16x4_t bytes;
};

inline ScaledTable scale_table(const float* table, float absmax) {
  ScaledTable scaled;
  for (int i = 0; i < 4; ++i) {
    scaled.bytes.val[i] = vreinterpretq_u8_f32(vmulq_n_f32(vld1q_f32(table + 4 * i), absmax));
  }
  return scaled;
}

// Four weights whose codes, times 4, are bytes 4 * kQuad and following.
template <int kQuad>
inline Vec lookup4(uint8x16_t offsets, const ScaledTable& table) {
  constexpr std::uint8_t kFirst = 4 * kQuad;
  constexpr std::uint8_t kRepeat[16] = {kFirst,     kFirst,     kFirst,     kFirst,
                                        kFirst + 1, kFirst + 1, kFirst + 1, kFirst + 1,
                                        kFirst + 2, kFirst + 2, kFirst + 2, kFirst + 2,
                                        kFirst + 3, kFirst + 3, kFirst + 3, kFirst + 3};
  constexpr std::uint8_t kByte[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
  const uint8x16_t index = vorrq_u8(vqtbl1q_u8(offsets, vld1q_u8(kRepeat)), vld1q_u8(kByte));
  return {vreinterpretq_f32_u8(vqtbl4q_u8(table.bytes, index))};
}

inline F32x16 lookup16(const std::uint8_t* codes, const ScaledTable& table) {
  const uint8x8_t bytes = vld1_u8(codes);
  const uint8x8x2_t pairs = vzip_u8(vshr_n_u8(bytes, 4), vand_u8(bytes, vdup_n_u8(0xF)));
  const uint8x16_t offsets = vshlq_n_u8(vcombine_u8(pairs.val[0], pairs.val[1]), 2);
  return {{lookup4<0>(offsets, table), lookup4<1>(offsets, table), lookup4<2>(offsets, table),
           lookup4<3>(offsets, table)}};
}

inline F32x16 to_lookup_order(const F32x16& lanes) {
  return lanes;
}
inline F32x16 from_lookup_order(const F32x16& lanes) {
  return lanes;
}

}  // namespace
}  // namespace fptq::kernels
