// What the Arm variants share: they differ in the order of operands.

#pragma once

#include <arm_neon.h>

#include "kernels/integer_gemm/records.h"
#include "kernels/integer_gemm/tile_neon.h"
#include "kernels/w8a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 16 channels x 1024 inputs, 16 KiB.
constexpr std::size_t kPanelSlabs = 32;

// The zero points of a group, biased by 128, a byte per channel.
inline uint8x16_t load_zeros(const PackedWeights& w, std::size_t block, std::size_t group) {
  return w.zeros == nullptr ? vdupq_n_u8(kBias8) : vld1q_u8(group_zeros(w, block, group));
}

// The sum of the stored bytes of each channel.
inline void sum_bytes(const std::uint8_t* codes, std::size_t slabs, BlockInts& sums) {
  for (std::size_t v = 0; v < kQuadVectors; ++v) {
    uint32x4_t sum = vdupq_n_u32(0);
    for (std::size_t quad = 0; quad < slabs * 8; ++quad) {
      sum = vdotq_u32(sum, vld1q_u8(codes + quad * kQuadBytes + v * 16), vdupq_n_u8(1));
    }
    sums[v] = vreinterpretq_s32_u32(sum);
  }
}

// Scales, zero points and, where activations have zero points, weight sums of a panel's groups.
//   bias  what multiplied weights lack: kBias8 where bytes are made signed, else 0
template <typename Order>
void prepare_groups(const IntegerGemmArgs& args, std::size_t block, const KBlock& k,
                    std::int32_t bias, PanelScratch<Order, kPanelSlabs>& scratch) {
  const PackedWeights w = args.w;
  const bool zero_point = args.x.zero_points != nullptr;
  const std::uint8_t* codes = slab_codes(w, block, k.slab_begin);
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t group = k.group_begin + g;
    BlockFloats scales;
    BlockInts zeros;
    load_scales(group_scales(w, block, group), w.scale_type, scales);
    store_spread<Order>(scratch.scales, g, scales);
    widen_bytes(load_zeros(w, block, group), zeros);
    BlockInts lacking;
    for (std::size_t v = 0; v < kQuadVectors; ++v) {
      lacking[v] = vsubq_s32(zeros[v], vdupq_n_s32(bias));
    }
    store_spread<Order>(scratch.zeros, g, lacking);
    if (!zero_point) continue;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    BlockInts sums;
    sum_bytes(codes, slabs, sums);
    for (std::size_t v = 0; v < kQuadVectors; ++v) {
      sums[v] = vmlsq_n_s32(sums[v], zeros[v], static_cast<std::int32_t>(slabs * kSlabCols));
    }
    store_spread<Order>(scratch.weight_sums, g, sums);
    codes += slabs * kSlabBytes8;
  }
}

// The signed codes of a panel's slabs, as PanelBytes has them.
template <typename Order>
void arrange_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::uint8_t* out) {
  const std::uint8_t* codes = slab_codes(w, block, k.slab_begin);
  // The same slab of the next panel, so that memory works while the tiles multiply.
  const std::size_t next_panel = w.records.block_bytes;
  for (std::size_t slab = 0; slab < k.slabs; ++slab) {
    for (std::size_t pair = 0; pair < 4; ++pair) {
      __builtin_prefetch(codes + next_panel + pair * 128);
      __builtin_prefetch(codes + next_panel + pair * 128 + 64);
      for (std::size_t v = 0; v < kQuadVectors; ++v) {
        uint8x16_t bytes[2];
        load_pair<Order>(codes, pair, v, bytes);
        for (std::size_t part = 0; part < 2; ++part) {
          vst1q_u8(out + PanelBytes::offset(pair, v, part),
                   veorq_u8(bytes[part], vdupq_n_u8(0x80)));
        }
      }
    }
    codes += kSlabBytes8;
    out += kSlabBytes8;
  }
}

// For few tokens: bound by memory.
template <typename Order, std::size_t kMaxSets>
void multiply_direct(const IntegerGemmArgs& args) {
  PanelScratch<Order, kPanelSlabs> scratch;
  const std::int32_t bias = Order::kBiasedBytes ? 0 : kBias8;
  multiply_panels<Order, PackedBytes, kMaxSets>(
      args, scratch, [&](std::size_t block, Panel& panel) {
        prepare_groups<Order>(args, block, panel.k, bias, scratch);
        panel.weights = slab_codes(args.w, block, panel.k.slab_begin);
        if (Order::kBiasedBytes || args.w.zeros != nullptr) panel.zeros = scratch.zeros;
      });
}

template <typename Order, std::size_t kMaxSets>
void multiply_arranged(const IntegerGemmArgs& args) {
  PanelScratch<Order, kPanelSlabs> scratch;
  alignas(64) std::uint8_t weights[kPanelSlabs * kSlabBytes8];
  multiply_panels<Order, PanelBytes, kMaxSets>(args, scratch, [&](std::size_t block, Panel& panel) {
    prepare_groups<Order>(args, block, panel.k, kBias8, scratch);
    arrange_block<Order>(args.w, block, panel.k, weights);
    panel.weights = weights;
    if (args.w.zeros != nullptr) panel.zeros = scratch.zeros;
  });
}

}  // namespace
}  // namespace fptq::kernels
