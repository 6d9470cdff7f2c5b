// AVX2 variant.

#include "kernels/simd/vec_avx2.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

// Few enough that sums, operands and products fit 16 registers.
constexpr std::size_t kInt8Sums = 8;

std::int32_t probe_int8(std::uint64_t rounds) {
  __m256i sum[kInt8Sums];
  for (__m256i& s : sum) s = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi8(1);
  const __m256i b = _mm256_set1_epi8(2);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (__m256i& s : sum) {
      // The compiler cannot see that every product is the same.
      __asm__ volatile("" : "+x"(a));
      const __m256i product = _mm256_maddubs_epi16(a, b);
      s = _mm256_add_epi16(s, product);
    }
  }
  __m256i total = _mm256_setzero_si256();
  for (const __m256i s : sum) total = _mm256_add_epi16(total, s);
  return _mm_cvtsi128_si32(_mm256_castsi256_si128(total));
}

}  // namespace

const RooflineProbe roofline_probe_avx2 = {probe_int8, kInt8Sums * 32 * 2, probe_f32,
                                           kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
