// AVX2 variant: 12 sums, 3 vectors of b, one of a.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

struct Words {
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kTileVectors = 3;
  static constexpr std::size_t kTileRows = 4;
  __m256i v;
};

inline Words load(const std::int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline void store(std::int32_t* p, Words a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
inline Words broadcast(std::int32_t x) {
  return {_mm256_set1_epi32(x)};
}
inline Words zero() {
  return {_mm256_setzero_si256()};
}
inline Words add(Words a, Words b) {
  return {_mm256_add_epi32(a.v, b.v)};
}
inline Words add_products(Words c, Words a, Words b) {
  return {_mm256_add_epi32(c.v, _mm256_madd_epi16(a.v, b.v))};
}
inline Words high_half(Words a) {
  return {_mm256_srai_epi32(a.v, 16)};
}
inline Words low_half(Words a) {
  return {_mm256_and_si256(a.v, _mm256_set1_epi32(0xFFFF))};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Words defined above.
#include "kernels/fixed_gemm/body.h"

namespace fptq::kernels {

void fixed_gemm_avx2(const FixedGemmArgs& args) {
  fixed_gemm_body(args);
}

}  // namespace fptq::kernels
