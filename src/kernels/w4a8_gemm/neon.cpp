// NEON variant with dotprod: sdot.

#include "kernels/integer_gemm/dot_neon.h"
#include "kernels/w4a8_gemm/body_neon.h"

namespace fptq::kernels {
namespace {

// Up to so many tokens the nibbles are multiplied as they are stored: from there on unpacking
// them once takes fewer instructions (counted, not timed).
constexpr std::size_t kDirectTokens = 12;
// 16 sums, 8 inputs, 4 vectors of nibbles, a half of one and the mask: 30 of 32 registers.
constexpr std::size_t kDirectTile = 4;
// 24 sums, 6 inputs and 2 weights: 32 registers, and 44 vectors loaded for 192 products.
constexpr std::size_t kPanelTile = 6;

}  // namespace

void w4a8_gemm_neon(const IntegerGemmArgs& args) {
  if (args.x.rows <= kDirectTokens) return multiply_direct<Dot, kDirectTile>(args);
  multiply_unpacked<Dot, kPanelTile>(args);
}

}  // namespace fptq::kernels
