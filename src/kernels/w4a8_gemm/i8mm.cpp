// NEON variant with i8mm: smmla, and sdot for a single token.

#include "kernels/integer_gemm/mmla_neon.h"
#include "kernels/w4a8_gemm/body_neon.h"

namespace fptq::kernels {
namespace {

// Up to so many tokens the nibbles are multiplied as they are stored: from there on unpacking
// them once takes fewer instructions (counted, not timed).
constexpr std::size_t kDirectTokens = 8;
// Pairs of tokens. 16 sums, 8 inputs, 4 vectors of nibbles, a half of one and the mask: 30 of 32.
constexpr std::size_t kDirectTile = 2;
// 24 sums, 6 inputs and 2 weights: 32 registers, and 44 vectors loaded for 96 products.
constexpr std::size_t kPanelTile = 3;

}  // namespace

void w4a8_gemm_i8mm(const IntegerGemmArgs& args) {
  // One token would leave half of smmla unused, and arranging nibbles is not free.
  if (args.x.rows == 1) return multiply_direct<Dot, 1>(args);
  if (args.x.rows <= kDirectTokens) return multiply_direct<Mmla, kDirectTile>(args);
  multiply_unpacked<Mmla, kPanelTile>(args);
}

}  // namespace fptq::kernels
