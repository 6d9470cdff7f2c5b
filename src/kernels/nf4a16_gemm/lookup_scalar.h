// Looking 4-bit codes up in a table, without vector instructions: what the other lookups equal.

#pragma once

#include "kernels/simd/vec_scalar.h"
// Written over the Vec that the line above defines.
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// The table of one block: table[i] * absmax, each rounded to float32.
struct ScaledTable {
  float entry[16];
};

inline ScaledTable scale_table(const float* table, float absmax) {
  ScaledTable scaled;
  for (std::size_t i = 0; i < 16; ++i) scaled.entry[i] = table[i] * absmax;
  return scaled;
}

// The 16 weights of 8 bytes, in lookup order.
inline F32x16 lookup16(const std::uint8_t* codes, const ScaledTable& table) {
  F32x16 result;
  for (std::size_t i = 0; i < 16; ++i) {
    const unsigned byte = codes[i / 2];
    result.part[0].lane[i] = table.entry[i % 2 == 0 ? byte >> 4 : byte & 0xFU];
  }
  return result;
}

// A variant may find weights in another order of lanes than their own, and multiplies inputs in
// that order then. Here the two are the same.
inline F32x16 to_lookup_order(const F32x16& lanes) {
  return lanes;
}
inline F32x16 from_lookup_order(const F32x16& lanes) {
  return lanes;
}

}  // namespace
}  // namespace fptq::kernels
