// Finding the parts of a packed matrix.

#pragma once

#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// The codes of slab `slab` of a block. Those of one group follow each other without a gap.
inline const std::uint8_t* slab_codes(const PackedWeights& w, std::size_t block, std::size_t slab) {
  const RecordLayout& r = w.records;
  return w.codes + block * r.block_bytes + slab / r.slabs * r.record_bytes +
         slab % r.slabs * r.slab_bytes;
}

// The 16 scales of a group of a block, of w.scale_type.
inline const void* group_scales(const PackedWeights& w, std::size_t block, std::size_t group) {
  const RecordLayout& r = w.records;
  return static_cast<const std::uint8_t*>(w.scales) + block * r.block_bytes +
         group / r.groups * r.record_bytes + group % r.groups * r.scale_bytes;
}

// The zero points of a group of a block; w.zeros is not null.
inline const std::uint8_t* group_zeros(const PackedWeights& w, std::size_t block,
                                       std::size_t group) {
  const RecordLayout& r = w.records;
  return w.zeros + block * r.block_bytes + group / r.groups * r.record_bytes +
         group % r.groups * r.zero_bytes;
}

}  // namespace
}  // namespace fptq::kernels
