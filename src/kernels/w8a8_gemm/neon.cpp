// NEON variant with dotprod: sdot.

#include "kernels/integer_gemm/dot_neon.h"
#include "kernels/w8a8_gemm/body_neon.h"

namespace fptq::kernels {
namespace {

// Up to so many tokens bytes become signed as they are multiplied: from there on doing that once
// takes fewer instructions (counted, not timed).
constexpr std::size_t kDirectTokens = 8;
// 16 sums, 4 inputs, 4 weights and the bit to flip: 25 of 32 registers.
constexpr std::size_t kDirectTile = 4;
// 24 sums, 6 inputs and 2 weights: 32 registers, and 44 vectors loaded for 192 products.
constexpr std::size_t kPanelTile = 6;

}  // namespace

void w8a8_gemm_neon(const IntegerGemmArgs& args) {
  if (args.x.rows <= kDirectTokens) return multiply_direct<Dot, kDirectTile>(args);
  multiply_arranged<Dot, kPanelTile>(args);
}

}  // namespace fptq::kernels
