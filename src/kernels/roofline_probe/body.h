// The loops of the roofline probe: the float ones over Vec, the integer one over an instruction.

#pragma once

#include "kernels/roofline_probe/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// Independent sums: more than the latency of an instruction times those issued per cycle.
inline constexpr std::size_t kProbeSums = 12;

// multiply_add(sum), `rounds` times for each sum, a vector of integers. It has to hide an
// operand from the compiler, which would otherwise see that all sums are the same and keep one.
// Only the lowest 32 bits of the total are the result: the width of the lanes that + adds is no
// matter.
template <typename Sum, typename MultiplyAdd>
std::int32_t probe_sums(std::uint64_t rounds, const MultiplyAdd& multiply_add) {
  Sum sum[kProbeSums] = {};
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (Sum& s : sum) s = multiply_add(s);
  }
  Sum total = {};
  for (const Sum& s : sum) total += s;
  return static_cast<std::int32_t>(total[0]);
}

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

// Four streams with a little prefetching: more than one stream reaches on every machine tried.
float probe_read(const float* data, std::size_t floats) {
  constexpr std::size_t kStreams = 4;
  constexpr std::size_t kVecs = 32 / Vec::kLanes;
  constexpr std::size_t kStep = kVecs * Vec::kLanes;  // 128 bytes
  constexpr std::size_t kAheadFloats = 128;
  const std::size_t length = floats / kStreams;
  Vec sum[kVecs];
  for (Vec& s : sum) s = vec_zero();
  for (std::size_t i = 0; i < length; i += kStep) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const float* p = data + stream * length + i;
      prefetch(p + kAheadFloats);
      prefetch(p + kAheadFloats + kStep / 2);
      for (std::size_t v = 0; v < kVecs; ++v) sum[v] = sum[v] + load_f32(p + v * Vec::kLanes);
    }
  }
  Vec total = vec_zero();
  for (const Vec& s : sum) total = total + s;
  return reduce_add(total);
}

}  // namespace
}  // namespace fptq::kernels
