// NEON variant: biased weight bytes become signed as they are loaded.

#include <arm_neon.h>

#include "kernels/integer_gemm/tile_neon.h"
#include "kernels/w8a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 16 channels x 1024 inputs, 16 KiB.
constexpr std::size_t kPanelSlabs = 32;

// Scales, zero points and, where activations have zero points, sums of the groups of a panel.
void prepare_block(const IntegerGemmArgs& args, std::size_t block, const KBlock& k,
                   PanelScratch<kPanelSlabs>& scratch) {
  const PackedWeights& w = args.w;
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const std::uint8_t* codes = w.codes + (block * slab_count(w.cols) + k.slab_begin) * kSlabBytes8;
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t at = block * groups + k.group_begin + g;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    for (std::size_t v = 0; v < kVectors; ++v) {
      const std::size_t slot = g * kBlockRows + v * 4;
      vst1q_f32(scratch.scales + slot,
                load_scales(w.scales, w.scale_type, at * kBlockRows + v * 4));
      std::int32_t zeros[4] = {};
      for (std::size_t c = 0; c < 4 && w.zeros != nullptr; ++c) {
        zeros[c] = w.zeros[at * kBlockRows + v * 4 + c] - kBias8;
      }
      vst1q_s32(scratch.zeros + slot, vld1q_s32(zeros));
      if (args.x.zero_points == nullptr) continue;
      int32x4_t sum = vmulq_n_s32(vld1q_s32(zeros), -static_cast<std::int32_t>(slabs * kSlabCols));
      for (std::size_t quad = 0; quad < slabs * 8; ++quad) {
        const uint8x16_t bytes = vld1q_u8(codes + quad * kQuadBytes + v * 16);
        sum = vdotq_s32(sum, vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80))), vdupq_n_s8(1));
      }
      vst1q_s32(scratch.weight_sums + slot, sum);
    }
    codes += slabs * kSlabBytes8;
  }
}

}  // namespace

void w8a8_gemm_neon(const IntegerGemmArgs& args) {
  PanelScratch<kPanelSlabs> scratch;
  const std::size_t block_bytes = slab_count(args.w.cols) * kSlabBytes8;
  multiply_panels(args, scratch, [&](std::size_t block, Panel& panel) {
    prepare_block(args, block, panel.k, scratch);
    panel.weights = args.w.codes + block * block_bytes + panel.k.slab_begin * kSlabBytes8;
    panel.flip = 0x80;
    if (args.w.zeros != nullptr) panel.zeros = scratch.zeros;
  });
}

}  // namespace fptq::kernels
