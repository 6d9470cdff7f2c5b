// Scalar reference: every other variant has to match it bit for bit.

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

struct Words {
  static constexpr std::size_t kLanes = 1;
  static constexpr std::size_t kTileVectors = 4;
  static constexpr std::size_t kTileRows = 2;
  std::int32_t v;
};

inline Words load(const std::int32_t* p) {
  return {*p};
}
inline void store(std::int32_t* p, Words a) {
  *p = a.v;
}
inline Words broadcast(std::int32_t x) {
  return {x};
}
inline Words zero() {
  return {0};
}
inline Words add(Words a, Words b) {
  return {a.v + b.v};
}
inline std::int32_t low_number(std::int32_t word) {
  return static_cast<std::int16_t>(word & 0xFFFF);
}
inline Words add_products(Words c, Words a, Words b) {
  return {c.v + low_number(a.v) * low_number(b.v) + (a.v >> 16) * (b.v >> 16)};
}
inline Words high_half(Words a) {
  return {a.v >> 16};
}
inline Words low_half(Words a) {
  return {a.v & 0xFFFF};
}

}  // namespace
}  // namespace fptq::kernels

// The body is written over the Words defined above.
#include "kernels/fixed_gemm/body.h"

namespace fptq::kernels {

void fixed_gemm_scalar(const FixedGemmArgs& args) {
  fixed_gemm_body(args);
}

}  // namespace fptq::kernels
