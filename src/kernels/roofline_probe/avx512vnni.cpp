// AVX-512 VNNI variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

std::int32_t probe_int8(std::uint64_t rounds) {
  __m512i a = _mm512_set1_epi8(1);
  const __m512i b = _mm512_set1_epi8(2);
  return probe_sums<__m512i>(rounds, [&](__m512i sum) {
    asm volatile("" : "+v"(a));
    return _mm512_dpbusd_epi32(sum, a, b);
  });
}

}  // namespace

const RooflineProbe roofline_probe_avx512vnni = {probe_int8, kProbeSums * 64 * 2, probe_f32,
                                                 kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
