// Loops that reach what a core can do at most: the limits that measured speeds stand beside.

#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {

// Each function belongs to one ISA and runs on one core; timing and threads are the caller's. The
// results exist so that no compiler can leave the work out.
struct RooflineProbe {
  // Multiplies and adds 8-bit integers in registers with the ISA's best instruction, `rounds`
  // times int8_operations (a multiplication and an addition count as two).
  //   amx                  tdpbssd
  //   avx512vnni, avxvnni  vpdpbusd
  //   avx2                 vpmaddubsw + vpaddw (16-bit sums: the least that accumulates)
  //   neon                 sdot
  //   i8mm                 smmla
  //   scalar               int32 += int8 * int8, as the compiler makes it
  std::int32_t (*int8)(std::uint64_t rounds);
  std::uint64_t int8_operations;  // of one round

  // The same for float32 fma.
  float (*f32)(std::uint64_t rounds);
  std::uint64_t f32_operations;

  // Adds up `floats` float32 values, a multiple of 256, with the ISA's widest loads.
  float (*read)(const float* data, std::size_t floats);
};

#define FPTQ_ROOFLINE_PROBE(isa, symbol) extern const RooflineProbe symbol;
#include "kernels/roofline_probe/variants.inc"
#undef FPTQ_ROOFLINE_PROBE

}  // namespace fptq::kernels
