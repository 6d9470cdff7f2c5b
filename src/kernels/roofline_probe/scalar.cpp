// Scalar reference.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/roofline_probe/body.h"

namespace fptq::kernels {
namespace {

constexpr std::size_t kInt8Sums = 8;

std::int32_t probe_int8(std::uint64_t rounds) {
  std::int32_t sum[kInt8Sums] = {};
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const auto a = static_cast<std::int8_t>(round & 0x7F);
    for (std::size_t s = 0; s < kInt8Sums; ++s) {
      // Different for every sum, so that one product does not serve them all.
      const auto b = static_cast<std::int8_t>((round + s) & 0x3);
      sum[s] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sum[s]) +
                                         static_cast<std::uint32_t>(a * b));
    }
  }
  std::uint32_t total = 0;
  for (const std::int32_t s : sum) total += static_cast<std::uint32_t>(s);
  return static_cast<std::int32_t>(total);
}

}  // namespace

const RooflineProbe roofline_probe_scalar = {probe_int8, kInt8Sums * 2, probe_f32,
                                             kProbeF32Operations, probe_read};

}  // namespace fptq::kernels
