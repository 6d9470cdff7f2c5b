// AMX variant: the integer loop has tiles, the others are those of AVX-512.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"
#include "kernels/simd/amx_tiles.h"

namespace fptq::kernels {
namespace {

constexpr std::uint64_t kTileOperations = 16 * 16 * 64 * 2;

// Sums in tiles 0 to 3, operands in 4 to 7.
std::int32_t probe_int8(std::uint64_t rounds) {
  alignas(64) std::int8_t ones[kTileRegisterRows * kTileRegisterBytes];
  alignas(64) std::int32_t sums[4][16 * 16] = {};
  __builtin_memset(ones, 1, sizeof(ones));
  shape_tiles(TileShapes());
  load_tile<4>(ones, kTileRegisterBytes);
  load_tile<5>(ones, kTileRegisterBytes);
  load_tile<6>(ones, kTileRegisterBytes);
  load_tile<7>(ones, kTileRegisterBytes);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    add_signed_products<0, 4, 6>();
    add_signed_products<1, 4, 7>();
    add_signed_products<2, 5, 6>();
    add_signed_products<3, 5, 7>();
  }
  store_tile<0>(sums[0]);
  store_tile<1>(sums[1]);
  store_tile<2>(sums[2]);
  store_tile<3>(sums[3]);
  release_tiles();
  return sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
}

}  // namespace

const RooflineProbe roofline_probe_amx = {probe_int8, 4 * kTileOperations, probe_f32,
                                          kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
