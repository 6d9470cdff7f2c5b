// NEON variant with dotprod.

#include "kernels/simd/vec_neon.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

std::int32_t probe_int8(std::uint64_t rounds) {
  int8x16_t a = vdupq_n_s8(1);
  const int8x16_t b = vdupq_n_s8(2);
  return probe_sums<int32x4_t>(rounds, [&](int32x4_t sum) {
    asm volatile("" : "+w"(a));
    return vdotq_s32(sum, a, b);
  });
}

}  // namespace

const RooflineProbe roofline_probe_neon = {probe_int8, kProbeSums * 16 * 2, probe_f32,
                                           kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
