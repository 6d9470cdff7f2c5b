// AVX-512 VNNI variant: 24 sums, 3 vectors of b, a from memory.

#include <cstddef>
#include <cstdint>

#include "kernels/simd/avx512_intrinsics.h"

namespace fptq::kernels {
namespace {

struct Words {
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kTileVectors = 3;
  static constexpr std::size_t kTileRows = 8;
  __m512i v;
};

inline Words load(const std::int32_t* p) {
  return {_mm512_loadu_si512(p)};
}
inline void store(std::int32_t* p, Words a) {
  _mm512_storeu_si512(p, a.v);
}
inline Words broadcast(std::int32_t x) {
  return {_mm512_set1_epi32(x)};
}
inline Words zero() {
  return {_mm512_setzero_si512()};
}
inline Words add(Words a, Words b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
inline Words add_products(Words c, Words a, Words b) {
  return {_mm512_dpwssd_epi32(c.v, a.v, b.v)};
}
inline Words high_half(Words a) {
  return {_mm512_srai_epi32(a.v, 16)};
}
inline Words low_half(Words a) {
  return {_mm512_and_si512(a.v, _mm512_set1_epi32(0xFFFF))};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Words defined above.
#include "kernels/fixed_gemm/body.h"

namespace fptq::kernels {

void fixed_gemm_avx512vnni(const FixedGemmArgs& args) {
  fixed_gemm_body(args);
}

}  // namespace fptq::kernels
