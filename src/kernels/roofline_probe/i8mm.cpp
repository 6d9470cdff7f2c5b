// NEON variant with i8mm: a 2x8 by 8x2 product per instruction.

#include "kernels/simd/vec_neon.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

std::int32_t probe_int8(std::uint64_t rounds) {
  int32x4_t sum[kProbeSums];
  for (int32x4_t& s : sum) s = vdupq_n_s32(0);
  const int8x16_t a = vdupq_n_s8(1);
  const int8x16_t b = vdupq_n_s8(2);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (int32x4_t& s : sum) s = vmmlaq_s32(s, a, b);
  }
  int32x4_t total = vdupq_n_s32(0);
  for (const int32x4_t s : sum) total = vaddq_s32(total, s);
  return vgetq_lane_s32(total, 0);
}

}  // namespace

const RooflineProbe roofline_probe_i8mm = {probe_int8, kProbeSums * 32 * 2, probe_f32,
                                           kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
