// NEON variant: 16 sums, 4 vectors of b, one of a.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

struct Words {
  static constexpr std::size_t kLanes = 4;
  static constexpr std::size_t kTileVectors = 4;
  static constexpr std::size_t kTileRows = 4;
  int32x4_t v;
};

inline Words load(const std::int32_t* p) {
  return {vld1q_s32(p)};
}
inline void store(std::int32_t* p, Words a) {
  vst1q_s32(p, a.v);
}
inline Words broadcast(std::int32_t x) {
  return {vdupq_n_s32(x)};
}
inline Words zero() {
  return {vdupq_n_s32(0)};
}
inline Words add(Words a, Words b) {
  return {vaddq_s32(a.v, b.v)};
}
inline Words add_products(Words c, Words a, Words b) {
  const int16x8_t as = vreinterpretq_s16_s32(a.v);
  const int16x8_t bs = vreinterpretq_s16_s32(b.v);
  const int32x4_t first = vmull_s16(vget_low_s16(as), vget_low_s16(bs));
  return {vaddq_s32(c.v, vpaddq_s32(first, vmull_high_s16(as, bs)))};
}
inline Words high_half(Words a) {
  return {vshrq_n_s32(a.v, 16)};
}
inline Words low_half(Words a) {
  return {vandq_s32(a.v, vdupq_n_s32(0xFFFF))};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Words defined above.
#include "kernels/fixed_gemm/body.h"

namespace fptq::kernels {

void fixed_gemm_neon(const FixedGemmArgs& args) {
  fixed_gemm_body(args);
}

}  // namespace fptq::kernels
