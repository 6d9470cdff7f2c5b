// Scalar reference: every other variant has to match it bit for bit.

#include <cstddef>

namespace fptq::kernels {
namespace {

struct Doubles {
  static constexpr std::size_t kLanes = 1;
  static constexpr std::size_t kTileVectors = 4;
  static constexpr std::size_t kTileRows = 2;
  double v;
};

inline Doubles load(const double* p) {
  return {*p};
}
inline void store(double* p, Doubles a) {
  *p = a.v;
}
inline Doubles broadcast(double x) {
  return {x};
}
inline Doubles subtract_product(Doubles c, Doubles a, Doubles b) {
  return {__builtin_fma(-a.v, b.v, c.v)};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Doubles defined above.
#include "kernels/double_gemm/body.h"

namespace fptq::kernels {

void double_gemm_scalar(const DoubleGemmArgs& args) {
  double_gemm_body(args);
}

}  // namespace fptq::kernels
