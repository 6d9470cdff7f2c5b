// AVX-VNNI variant: AVX2 with vpdpbusd.

#include "kernels/simd/vec_avx2.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

std::int32_t probe_int8(std::uint64_t rounds) {
  __m256i sum[kProbeSums];
  for (__m256i& s : sum) s = _mm256_setzero_si256();
  const __m256i a = _mm256_set1_epi8(1);
  const __m256i b = _mm256_set1_epi8(2);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (__m256i& s : sum) s = _mm256_dpbusd_avx_epi32(s, a, b);
  }
  __m256i total = _mm256_setzero_si256();
  for (const __m256i s : sum) total = _mm256_add_epi32(total, s);
  return _mm_cvtsi128_si32(_mm256_castsi256_si128(total));
}

}  // namespace

const RooflineProbe roofline_probe_avxvnni = {probe_int8, kProbeSums * 32 * 2, probe_f32,
                                              kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
