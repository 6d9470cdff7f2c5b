// What the Arm variants share: they differ in the order of operands.

#pragma once

#include <arm_neon.h>

#include "kernels/integer_gemm/records.h"
#include "kernels/integer_gemm/tile_neon.h"
#include "kernels/w4a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 16 channels x 1024 inputs, 16 KiB unpacked.
constexpr std::size_t kPanelSlabs = 32;

// The zero points of a group, biased by 8, a byte per channel.
inline uint8x16_t load_zeros(const PackedWeights& w, std::size_t block, std::size_t group) {
  if (w.zeros == nullptr) return vdupq_n_u8(kBias4);
  const uint8x8_t packed = vld1_u8(group_zeros(w, block, group));
  return vcombine_u8(vand_u8(packed, vdup_n_u8(0x0F)), vshr_n_u8(packed, 4));
}

// The sum of the nibbles of each channel.
inline void sum_nibbles(const std::uint8_t* codes, std::size_t slabs, BlockInts& sums) {
  for (std::size_t v = 0; v < kQuadVectors; ++v) {
    uint32x4_t sum = vdupq_n_u32(0);
    for (std::size_t quad = 0; quad < slabs * 4; ++quad) {
      const uint8x16_t packed = vld1q_u8(codes + quad * kQuadBytes + v * 16);
      const uint8x16_t both = vaddq_u8(vandq_u8(packed, vdupq_n_u8(0x0F)), vshrq_n_u8(packed, 4));
      sum = vdotq_u32(sum, both, vdupq_n_u8(1));
    }
    sums[v] = vreinterpretq_s32_u32(sum);
  }
}

// Scales, zero points and, where activations have zero points, weight sums of a panel's groups.
template <typename Order>
void prepare_groups(const IntegerGemmArgs& args, std::size_t block, const KBlock& k,
                    PanelScratch<Order, kPanelSlabs>& scratch) {
  const PackedWeights w = args.w;
  const bool zero_point = args.x.zero_points != nullptr;
  std::size_t slab_begin = k.slab_begin;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t group = k.group_begin + g;
    BlockFloats scales;
    BlockInts zeros;
    load_scales(group_scales(w, block, group), w.scale_type, scales);
    store_spread<Order>(scratch.scales, g, scales);
    widen_bytes(load_zeros(w, block, group), zeros);
    store_spread<Order>(scratch.zeros, g, zeros);
    if (!zero_point) continue;
    const std::size_t slabs_left = k.slab_begin + k.slabs - slab_begin;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    BlockInts sums;
    sum_nibbles(slab_codes(w, block, slab_begin), slabs, sums);
    for (std::size_t v = 0; v < kQuadVectors; ++v) {
      sums[v] = vmlsq_n_s32(sums[v], zeros[v], static_cast<std::int32_t>(slabs * kSlabCols));
    }
    store_spread<Order>(scratch.weight_sums, g, sums);
    slab_begin += slabs;
  }
}

// code - zero of a panel's slabs, as PanelBytes has them.
template <typename Order>
void unpack_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::uint8_t* out) {
  // The same slab of the next panel, so that memory works while the tiles multiply.
  const std::size_t next_panel = w.records.block_bytes;
  std::size_t slab_begin = k.slab_begin;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const uint8x16_t zero_points = load_zeros(w, block, k.group_begin + g);
    const std::uint8_t* codes = slab_codes(w, block, slab_begin);
    const std::size_t slabs_left = k.slab_begin + k.slabs - slab_begin;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slab_begin += slabs;
    for (std::size_t slab = 0; slab < slabs; ++slab) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kQuadVectors; ++v) {
        __builtin_prefetch(codes + next_panel + v * 64);
        // Each zero point in the 4 bytes of its channel.
        static constexpr std::uint8_t kSpread[16] = {0, 0, 0, 0, 1, 1, 1, 1,
                                                     2, 2, 2, 2, 3, 3, 3, 3};
        const uint8x16_t channels =
            vaddq_u8(vld1q_u8(kSpread), vdupq_n_u8(static_cast<std::uint8_t>(v * kQuadChannels)));
        uint8x16_t zeros[2];
        zeros[0] = zeros[1] = vqtbl1q_u8(zero_points, channels);
        Order::arrange(zeros);
#pragma GCC unroll 2
        for (std::size_t pair = 0; pair < 2; ++pair) {
          uint8x16_t packed[2];
          load_pair<Order>(codes, pair, v, packed);
          for (std::size_t part = 0; part < 2; ++part) {
            const uint8x16_t low = vandq_u8(packed[part], vdupq_n_u8(0x0F));
            const uint8x16_t high = vshrq_n_u8(packed[part], 4);
            vst1q_u8(out + PanelBytes::offset(pair, v, part), vsubq_u8(low, zeros[part]));
            vst1q_u8(out + PanelBytes::offset(pair + 2, v, part), vsubq_u8(high, zeros[part]));
          }
        }
      }
      codes += kSlabBytes4;
      out += kSlabBytes8;
    }
  }
}

// For few tokens: bound by memory.
template <typename Order, std::size_t kMaxSets>
void multiply_direct(const IntegerGemmArgs& args) {
  PanelScratch<Order, kPanelSlabs> scratch;
  const RecordLayout& records = args.w.records;
  multiply_panels<Order, PackedNibbles, kMaxSets>(
      args, scratch, [&](std::size_t block, Panel& panel) {
        prepare_groups<Order>(args, block, panel.k, scratch);
        panel.weights = slab_codes(args.w, block, panel.k.slab_begin);
        panel.groups_before_gap = records.groups - panel.k.group_begin % records.groups;
        panel.record_groups = records.groups;
        panel.gap_bytes = records.header_bytes;
        panel.zeros = scratch.zeros;
      });
}

template <typename Order, std::size_t kMaxSets>
void multiply_unpacked(const IntegerGemmArgs& args) {
  PanelScratch<Order, kPanelSlabs> scratch;
  alignas(64) std::uint8_t weights[kPanelSlabs * kSlabBytes8];
  multiply_panels<Order, PanelBytes, kMaxSets>(args, scratch, [&](std::size_t block, Panel& panel) {
    prepare_groups<Order>(args, block, panel.k, scratch);
    unpack_block<Order>(args.w, block, panel.k, weights);
    panel.weights = weights;
  });
}

}  // namespace
}  // namespace fptq::kernels
