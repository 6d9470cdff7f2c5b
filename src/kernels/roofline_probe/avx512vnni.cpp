// AVX-512 VNNI variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

std::int32_t probe_int8(std::uint64_t rounds) {
  __m512i sum[kProbeSums];
  for (__m512i& s : sum) s = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi8(1);
  const __m512i b = _mm512_set1_epi8(2);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (__m512i& s : sum) s = _mm512_dpbusd_epi32(s, a, b);
  }
  __m512i total = _mm512_setzero_si512();
  for (const __m512i s : sum) total = _mm512_add_epi32(total, s);
  return _mm_cvtsi128_si32(_mm512_castsi512_si128(total));
}

}  // namespace

const RooflineProbe roofline_probe_avx512vnni = {probe_int8, kProbeSums * 64 * 2, probe_f32,
                                                 kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
