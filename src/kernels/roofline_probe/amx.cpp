// AMX variant: the integer loop has tiles, the others are those of AVX-512.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

// Tiles of 16 rows of 64 bytes: sums in 0 to 3, operands in 4 to 7.
constexpr std::uint64_t kTileOperations = 16 * 16 * 64 * 2;

std::int32_t probe_int8(std::uint64_t rounds) {
  struct alignas(64) {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  alignas(64) std::int8_t ones[16 * 64];
  alignas(64) std::int32_t sums[4][16 * 16] = {};
  __builtin_memset(ones, 1, sizeof(ones));
  asm volatile(
      "ldtilecfg %0\n\t"
      "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
      "tileloadd (%1,%2,1), %%tmm4\n\ttileloadd (%1,%2,1), %%tmm5\n\t"
      "tileloadd (%1,%2,1), %%tmm6\n\ttileloadd (%1,%2,1), %%tmm7"
      :
      : "m"(shapes), "r"(ones), "r"(std::size_t{64})
      : "memory");
  for (std::uint64_t round = 0; round < rounds; ++round) {
    asm volatile(
        "tdpbssd %%tmm6, %%tmm4, %%tmm0\n\ttdpbssd %%tmm7, %%tmm4, %%tmm1\n\t"
        "tdpbssd %%tmm6, %%tmm5, %%tmm2\n\ttdpbssd %%tmm7, %%tmm5, %%tmm3" ::);
  }
  asm volatile(
      "tilestored %%tmm0, (%0,%4,1)\n\ttilestored %%tmm1, (%1,%4,1)\n\t"
      "tilestored %%tmm2, (%2,%4,1)\n\ttilestored %%tmm3, (%3,%4,1)\n\t"
      "tilerelease"
      :
      : "r"(sums[0]), "r"(sums[1]), "r"(sums[2]), "r"(sums[3]), "r"(std::size_t{64})
      : "memory");
  return sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
}

}  // namespace

const RooflineProbe roofline_probe_amx = {probe_int8, 4 * kTileOperations, probe_f32,
                                          kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
