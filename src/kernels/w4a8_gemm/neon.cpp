// NEON variant: panels of signed bytes, code - zero, unpacked once for all tokens.

#include <arm_neon.h>

#include "kernels/integer_gemm/tile_neon.h"
#include "kernels/w4a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 16 channels x 512 inputs, 8 KiB unpacked.
constexpr std::size_t kPanelSlabs = 16;

struct Scratch {
  alignas(64) std::int8_t weights[kPanelSlabs * kSlabBytes8];
  PanelScratch<kPanelSlabs> panel;
};

// The zero points of 4 channels, biased by 8, each in the 4 bytes of its channel's quad.
uint8x16_t load_zeros(const PackedWeights& w, std::size_t at, std::size_t v) {
  if (w.zeros == nullptr) return vdupq_n_u8(kBias4);
  const uint8x8_t packed = vld1_u8(w.zeros + at * 8);
  const uint8x16_t zeros = vcombine_u8(vand_u8(packed, vdup_n_u8(0x0F)), vshr_n_u8(packed, 4));
  static constexpr std::uint8_t kSpread[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  const auto first = static_cast<std::uint8_t>(v * 4);
  return vqtbl1q_u8(zeros, vaddq_u8(vld1q_u8(kSpread), vdupq_n_u8(first)));
}

void unpack_block(const PackedWeights& w, std::size_t block, const KBlock& k, Scratch& scratch) {
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const std::uint8_t* codes = w.codes + (block * slab_count(w.cols) + k.slab_begin) * kSlabBytes4;
  std::int8_t* out = scratch.weights;
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t at = block * groups + k.group_begin + g;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    for (std::size_t v = 0; v < kVectors; ++v) {
      const std::size_t slot = g * kBlockRows + v * 4;
      vst1q_f32(scratch.panel.scales + slot,
                load_scales(w.scales, w.scale_type, at * kBlockRows + v * 4));
      const uint8x16_t zeros = load_zeros(w, at, v);
      int32x4_t sum = vdupq_n_s32(0);
      for (std::size_t slab = 0; slab < slabs; ++slab) {
        for (std::size_t j = 0; j < 4; ++j) {
          const std::size_t offset = j * kQuadBytes + v * 16;
          const uint8x16_t packed = vld1q_u8(codes + slab * kSlabBytes4 + offset);
          const int8x16_t low =
              vreinterpretq_s8_u8(vsubq_u8(vandq_u8(packed, vdupq_n_u8(0x0F)), zeros));
          const int8x16_t high = vreinterpretq_s8_u8(vsubq_u8(vshrq_n_u8(packed, 4), zeros));
          vst1q_s8(out + slab * kSlabBytes8 + offset, low);
          vst1q_s8(out + slab * kSlabBytes8 + 4 * kQuadBytes + offset, high);
          sum = vdotq_s32(sum, low, vdupq_n_s8(1));
          sum = vdotq_s32(sum, high, vdupq_n_s8(1));
        }
      }
      vst1q_s32(scratch.panel.weight_sums + slot, sum);
    }
    codes += slabs * kSlabBytes4;
    out += slabs * kSlabBytes8;
  }
}

}  // namespace

void w4a8_gemm_neon(const IntegerGemmArgs& args) {
  Scratch scratch;
  multiply_panels(args, scratch.panel, [&](std::size_t block, Panel& panel) {
    unpack_block(args.w, block, panel.k, scratch);
    panel.weights = reinterpret_cast<const std::uint8_t*>(scratch.weights);
  });
}

}  // namespace fptq::kernels
