// AVX2 variant: 12 sums, 3 vectors of b, one of a.

#include <immintrin.h>

#include <cstddef>

namespace fptq::kernels {
namespace {

struct Doubles {
  static constexpr std::size_t kLanes = 4;
  static constexpr std::size_t kTileVectors = 3;
  static constexpr std::size_t kTileRows = 4;
  __m256d v;
};

inline Doubles load(const double* p) {
  return {_mm256_loadu_pd(p)};
}
inline void store(double* p, Doubles a) {
  _mm256_storeu_pd(p, a.v);
}
inline Doubles broadcast(double x) {
  return {_mm256_set1_pd(x)};
}
inline Doubles subtract_product(Doubles c, Doubles a, Doubles b) {
  return {_mm256_fnmadd_pd(a.v, b.v, c.v)};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Doubles defined above.
#include "kernels/double_gemm/body.h"

namespace fptq::kernels {

void double_gemm_avx2(const DoubleGemmArgs& args) {
  double_gemm_body(args);
}

}  // namespace fptq::kernels
