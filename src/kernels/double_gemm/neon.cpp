// NEON variant: 24 sums, 4 vectors of b, one of a.

#include <arm_neon.h>

#include <cstddef>

namespace fptq::kernels {
namespace {

struct Doubles {
  static constexpr std::size_t kLanes = 2;
  static constexpr std::size_t kTileVectors = 4;
  static constexpr std::size_t kTileRows = 6;
  float64x2_t v;
};

inline Doubles load(const double* p) {
  return {vld1q_f64(p)};
}
inline void store(double* p, Doubles a) {
  vst1q_f64(p, a.v);
}
inline Doubles broadcast(double x) {
  return {vdupq_n_f64(x)};
}
inline Doubles subtract_product(Doubles c, Doubles a, Doubles b) {
  return {vfmsq_f64(c.v, a.v, b.v)};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Doubles defined above.
#include "kernels/double_gemm/body.h"

namespace fptq::kernels {

void double_gemm_neon(const DoubleGemmArgs& args) {
  double_gemm_body(args);
}

}  // namespace fptq::kernels
