// AVX-VNNI variant: AVX2 with vpdpbusd.

#include "kernels/simd/vec_avx2.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

std::int32_t probe_int8(std::uint64_t rounds) {
  __m256i a = _mm256_set1_epi8(1);
  const __m256i b = _mm256_set1_epi8(2);
  return probe_sums<__m256i>(rounds, [&](__m256i sum) {
    asm volatile("" : "+x"(a));
    return _mm256_dpbusd_avx_epi32(sum, a, b);
  });
}

}  // namespace

const RooflineProbe roofline_probe_avxvnni = {probe_int8, kProbeSums * 32 * 2, probe_f32,
                                              kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
