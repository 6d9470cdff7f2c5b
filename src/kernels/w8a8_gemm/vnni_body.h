// The W8A8 product with VNNI, written once over Lanes: biased weight bytes are the unsigned operand
// as they are stored. Included by each variant after its lanes_<isa>.h.

#pragma once

#include "kernels/integer_gemm/records.h"
#include "kernels/integer_gemm/tile_vnni.h"
#include "kernels/w8a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 2048 inputs, 64 KiB of two blocks.
constexpr std::size_t kPanelSlabs = 64;
constexpr std::size_t kBlockRegisters = kBlockRows / Lanes::kCount;

struct Scratch {
  alignas(64) std::int32_t zeros[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kTileRows];
  alignas(64) float scales[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t start[kTokenBlock * kPanelSlabs];
  ChunkScratch chunk;
};

// Scales, zero points and, where activations have zero points, sums of the b-th block of a panel.
template <typename PanelScratch>
void prepare_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::size_t b,
                   bool zero_point, PanelScratch& scratch) {
  const std::uint8_t* codes = slab_codes(w, block, k.slab_begin);
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t group = k.group_begin + g;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    for (std::size_t r = 0; r < kBlockRegisters; ++r) {
      const std::size_t channel = r * Lanes::kCount;
      const std::size_t slot = g * kTileRows + b * kBlockRows + channel;
      store_floats(scratch.scales + slot,
                   load_scales(group_scales(w, block, group), w.scale_type, channel));
      Lanes zeros = broadcast_lanes(kBias8);
      if (w.zeros != nullptr) zeros = widen_bytes(group_zeros(w, block, group) + channel);
      store_lanes(scratch.zeros + slot, zeros);
      if (!zero_point) continue;
      Lanes sum = zero_lanes();
      for (std::size_t quad = 0; quad < slabs * (kSlabCols / 4); ++quad) {
        sum =
            dot_bytes(sum, load_lanes(codes + quad * kQuadBytes + channel * 4), broadcast_bytes(1));
      }
      const Lanes inputs = broadcast_lanes(static_cast<std::int32_t>(slabs * kSlabCols));
      store_lanes(scratch.weight_sums + slot, sum - zeros * inputs);
    }
    codes += slabs * kSlabBytes8;
  }
}

inline void w8a8_gemm_body(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  for_each_panel_of_chunks(
      args, k_blocks, kTokenBlock, kChunkBlocks, kTileBlocks,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        negative_sums(args.x, token, tokens, k_blocks.slabs(), k, w.zeros == nullptr ? kBias8 : 1,
                      scratch.start);
      },
      [&](std::size_t token, std::size_t tokens, std::size_t block, std::size_t slot,
          const KBlock& k) {
        Panel panel = panel_at(args, block, k, slab_codes(w, block, k.slab_begin),
                               w.records.block_bytes, scratch);
        if (w.zeros != nullptr) panel.zeros = scratch.zeros;
        const std::size_t blocks = ceil_div(panel.channels, kBlockRows);
        for (std::size_t b = 0; b < blocks; ++b) {
          prepare_block(w, block + b, k, b, args.x.zero_points != nullptr, scratch);
        }
        multiply_panel(args, panel, token, tokens, block, slot, scratch.start, scratch.chunk);
      });
  finish_streaming();
}

}  // namespace
}  // namespace fptq::kernels
