// AVX-512 variant: 24 sums, 3 vectors of b, a from memory.

#include <immintrin.h>

#include <cstddef>

namespace fptq::kernels {
namespace {

struct Doubles {
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kTileVectors = 3;
  static constexpr std::size_t kTileRows = 8;
  __m512d v;
};

inline Doubles load(const double* p) {
  return {_mm512_loadu_pd(p)};
}
inline void store(double* p, Doubles a) {
  _mm512_storeu_pd(p, a.v);
}
inline Doubles broadcast(double x) {
  return {_mm512_set1_pd(x)};
}
inline Doubles subtract_product(Doubles c, Doubles a, Doubles b) {
  return {_mm512_fnmadd_pd(a.v, b.v, c.v)};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Doubles defined above.
#include "kernels/double_gemm/body.h"

namespace fptq::kernels {

void double_gemm_avx512vnni(const DoubleGemmArgs& args) {
  double_gemm_body(args);
}

}  // namespace fptq::kernels
