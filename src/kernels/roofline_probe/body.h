// The float loops of the roofline probe, written once over Vec; the integer ones are per ISA.

#pragma once

#include "kernels/roofline_probe/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// Independent sums: more than the latency of an instruction times those issued per cycle.
inline constexpr std::size_t kProbeSums = 12;

inline constexpr std::uint64_t kProbeF32Operations = kProbeSums * Vec::kLanes * 2;

float probe_f32(std::uint64_t rounds) {
  Vec sum[kProbeSums];
  for (Vec& s : sum) s = vec_zero();
  const Vec factor = vec_set(0.5f);
  const Vec term = vec_set(1.0f);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (Vec& s : sum) s = fma(s, factor, term);
  }
  Vec total = vec_zero();
  for (const Vec& s : sum) total = total + s;
  return reduce_add(total);
}

float probe_read(const float* data, std::size_t floats) {
  constexpr std::size_t kSums = 8;
  Vec sum[kSums];
  for (Vec& s : sum) s = vec_zero();
  for (std::size_t i = 0; i < floats; i += kSums * Vec::kLanes) {
    for (std::size_t s = 0; s < kSums; ++s) sum[s] = sum[s] + load_f32(data + i + s * Vec::kLanes);
  }
  Vec total = vec_zero();
  for (const Vec& s : sum) total = total + s;
  return reduce_add(total);
}

}  // namespace
}  // namespace fptq::kernels
