// NEON variant with i8mm: smmla and usmmla, and usdot for a single token.

#include "kernels/integer_gemm/mmla_neon.h"
#include "kernels/w8a8_gemm/body_neon.h"

namespace fptq::kernels {
namespace {

// Up to so many tokens bytes are arranged as they are multiplied: from there on doing that once
// takes fewer instructions (counted, not timed).
constexpr std::size_t kDirectTokens = 8;
// Pairs of tokens. 16 sums, 4 inputs and 4 weights: 24 of 32 registers.
constexpr std::size_t kDirectTile = 2;
// 24 sums, 6 inputs and 2 weights: 32 registers, and 44 vectors loaded for 96 products.
constexpr std::size_t kPanelTile = 3;

}  // namespace

void w8a8_gemm_i8mm(const IntegerGemmArgs& args) {
  // One token would leave half of usmmla unused, and arranging bytes is not free.
  if (args.x.rows == 1) return multiply_direct<MixedDot, 1>(args);
  if (args.x.rows <= kDirectTokens) return multiply_direct<Mmla, kDirectTile>(args);
  multiply_arranged<Mmla, kPanelTile>(args);
}

}  // namespace fptq::kernels
