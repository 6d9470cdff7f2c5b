// The register tile of the NEON products: signed weight bytes times signed activations (sdot).
//
// Lanes are output channels: a quad of weights is 4 vectors of 4 channels x 4 inputs, multiplied
// with 4 activation bytes of a token, one 32-bit lane of a vector of 16 inputs.

#pragma once

#include <arm_neon.h>

#include "kernels/integer_gemm/k_blocks.h"
#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

constexpr std::size_t kVectors = kBlockRows / 4;  // of a block's channels
// 16 sums, 4 weights and 4 activations fit 32 registers.
constexpr std::size_t kTileTokens = 4;
// Tokens that share one unpacked panel.
constexpr std::size_t kTokenBlock = 96;

// One block of channels and one block of slabs.
struct Panel {
  const std::uint8_t* weights;      // bytes w of quads
  std::uint8_t flip;                // w ^ flip is the signed weight: code, or code - zero
  const std::int32_t* zeros;        // [groups, 16] still to be subtracted, or null
  const std::int32_t* weight_sums;  // [groups, 16], sum of code - zero; with zero points of x only
  const float* scales;              // [groups, 16]
  const float* bias;                // [16] or null
  std::size_t channels;             // of the 16 that exist
  KBlock k;
  bool first;  // no group was finished before this block
  bool last;   // this block finishes the last group
};

// The tokens of one tile.
struct TileTokens {
  const std::int8_t* x;  // codes at the panel's first slab
  std::size_t x_stride;
  const std::int16_t* pair_sums;  // at the panel's first slab; read where panel.zeros is given
  std::size_t pair_stride;
  const float* scales;
  const std::int32_t* zero_points;  // or null
  std::int32_t* carry;              // [tokens, 16] sums of an unfinished group
  float* y;
  std::size_t y_stride;
};

// 4 scales widened to float32, exactly.
inline float32x4_t load_scales(const void* scales, ElementType type, std::size_t index) {
  if (type == ElementType::kF32) return vld1q_f32(static_cast<const float*>(scales) + index);
  const uint16x4_t half = vld1_u16(static_cast<const std::uint16_t*>(scales) + index);
  if (type == ElementType::kF16) return vcvt_f32_f16(vreinterpret_f16_u16(half));
  return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
}

// sums += the products of 4 quads, w at the first of them, with 16 inputs of each token.
template <std::size_t kTokens>
inline __attribute__((always_inline)) void multiply_quads(const std::uint8_t* w, uint8x16_t flip,
                                                          const int8x16_t (&x)[kTokens],
                                                          int32x4_t (&sums)[kTokens][kVectors]) {
  // The lane has to be a constant, so the quads are written out.
#define FPTQ_MULTIPLY_QUAD(quad)                                                       \
  for (std::size_t v = 0; v < kVectors; ++v) {                                         \
    const int8x16_t weights =                                                          \
        vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w + (quad)*kQuadBytes + v * 16), flip)); \
    for (std::size_t t = 0; t < kTokens; ++t) {                                        \
      sums[t][v] = vdotq_laneq_s32(sums[t][v], weights, x[t], quad);                   \
    }                                                                                  \
  }
  FPTQ_MULTIPLY_QUAD(0)
  FPTQ_MULTIPLY_QUAD(1)
  FPTQ_MULTIPLY_QUAD(2)
  FPTQ_MULTIPLY_QUAD(3)
#undef FPTQ_MULTIPLY_QUAD
}

template <std::size_t kTokens>
__attribute__((noinline)) void multiply_tile(const Panel& panel, const TileTokens& tokens) {
  alignas(16) float y[kTokens][kBlockRows];
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t c = 0; c < kBlockRows; ++c) {
      y[t][c] = panel.first || c >= panel.channels ? 0.0f : tokens.y[t * tokens.y_stride + c];
    }
  }
  const uint8x16_t flip = vdupq_n_u8(panel.flip);
  const std::uint8_t* w = panel.weights;
  std::size_t done = 0;  // slabs
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    const std::size_t left = panel.k.slabs - done;
    const std::size_t slabs = left < panel.k.group_slabs ? left : panel.k.group_slabs;
    int32x4_t sums[kTokens][kVectors];
    for (std::size_t t = 0; t < kTokens; ++t) {
      for (std::size_t v = 0; v < kVectors; ++v) sums[t][v] = vdupq_n_s32(0);
    }
    for (std::size_t half = done * 2; half < (done + slabs) * 2; ++half) {
      int8x16_t x[kTokens];
      for (std::size_t t = 0; t < kTokens; ++t) {
        x[t] = vld1q_s8(tokens.x + t * tokens.x_stride + half * 16);
      }
      multiply_quads(w, flip, x, sums);
      w += 4 * kQuadBytes;
    }
    for (std::size_t t = 0; t < kTokens; ++t) {
      std::int32_t x_sum = 0;
      if (panel.zeros != nullptr) {
        const std::int16_t* pairs = tokens.pair_sums + t * tokens.pair_stride;
        for (std::size_t i = done * 2; i < (done + slabs) * 2; ++i) x_sum += pairs[i];
      }
      for (std::size_t v = 0; v < kVectors; ++v) {
        const std::size_t at = g * kBlockRows + v * 4;
        int32x4_t sum = sums[t][v];
        if (panel.zeros != nullptr) {
          sum = vmlsq_n_s32(sum, vld1q_s32(panel.zeros + at), x_sum);
        }
        if (tokens.zero_points != nullptr) {
          sum = vmlsq_n_s32(sum, vld1q_s32(panel.weight_sums + at), tokens.zero_points[t]);
        }
        std::int32_t* carry = tokens.carry + t * kBlockRows + v * 4;
        if (panel.k.continues) sum = vaddq_s32(sum, vld1q_s32(carry));
        if (panel.k.unfinished) {
          vst1q_s32(carry, sum);
          continue;
        }
        vst1q_f32(&y[t][v * 4], vfmaq_f32(vld1q_f32(&y[t][v * 4]), vcvtq_f32_s32(sum),
                                          vld1q_f32(panel.scales + at)));
      }
    }
    done += slabs;
  }
  if (panel.k.unfinished) return;
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t c = 0; c < panel.channels; ++c) {
      float value = y[t][c];
      if (panel.last) {
        value *= tokens.scales[t];
        if (panel.bias != nullptr) value += panel.bias[c];
      }
      tokens.y[t * tokens.y_stride + c] = value;
    }
  }
}

// What a panel needs beside its weights.
template <std::size_t kPanelSlabs>
struct PanelScratch {
  alignas(64) std::int32_t zeros[kPanelSlabs * kBlockRows];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kBlockRows];
  alignas(64) float scales[kPanelSlabs * kBlockRows];
  alignas(64) std::int32_t carry[kTokenBlock * kBlockRows];
};

// Every block of channels and every block of slabs, each against all tokens.
// prepare(block, panel) fills panel.weights and what its scratch holds for panel.k.
template <std::size_t kPanelSlabs, typename Prepare>
void multiply_panels(const IntegerGemmArgs& args, PanelScratch<kPanelSlabs>& scratch,
                     const Prepare& prepare) {
  using MultiplyTileFn = void (*)(const Panel&, const TileTokens&);
  static constexpr MultiplyTileFn kTiles[kTileTokens] = {multiply_tile<1>, multiply_tile<2>,
                                                         multiply_tile<3>, multiply_tile<4>};
  const KBlocks k_blocks(args.w.cols, args.w.group_width, kPanelSlabs);
  const std::size_t pair_stride = k_blocks.slabs() * 2;
  for (std::size_t token = 0; token < args.x.rows; token += kTokenBlock) {
    const std::size_t tokens =
        args.x.rows - token < kTokenBlock ? args.x.rows - token : kTokenBlock;
    for (std::size_t block = args.block_begin; block < args.block_end; ++block) {
      const std::size_t rest = args.w.rows - block * kBlockRows;
      Panel panel{.weights = nullptr,
                  .flip = 0,
                  .zeros = nullptr,
                  .weight_sums = scratch.weight_sums,
                  .scales = scratch.scales,
                  .bias = args.bias == nullptr ? nullptr : args.bias + block * kBlockRows,
                  .channels = rest < kBlockRows ? rest : kBlockRows,
                  .k = {},
                  .first = true,
                  .last = false};
      for (std::size_t slab = 0; slab < k_blocks.slabs(); slab += panel.k.slabs) {
        panel.k = k_blocks.at(slab);
        panel.last = slab + panel.k.slabs == k_blocks.slabs();
        prepare(block, panel);
        const std::size_t tiles = ceil_div(tokens, kTileTokens);
        std::size_t done = 0;
        for (std::size_t i = 0; i < tiles; ++i) {
          const std::size_t count = (tokens - done) / (tiles - i);
          const std::size_t m = token + done;
          kTiles[count - 1](
              panel,
              {.x = args.x.codes + m * args.x.stride + slab * kSlabCols,
               .x_stride = args.x.stride,
               .pair_sums = args.x.pair_sums + m * pair_stride + slab * 2,
               .pair_stride = pair_stride,
               .scales = args.x.scales + m,
               .zero_points = args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
               .carry = scratch.carry + done * kBlockRows,
               .y = args.y + m * args.y_stride + block * kBlockRows,
               .y_stride = args.y_stride});
          done += count;
        }
        if (!panel.k.unfinished) panel.first = false;
      }
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
