// The register tile of the NEON products, for any operand order and any source of weights.
//
// Sums are vectors of 4 (channels and tokens as the order has them, Dot or Mmla), results lie in
// memory in the same order, and whatever a group ends with is spread over such vectors first.

#pragma once

#include <arm_neon.h>

#include "kernels/integer_gemm/k_blocks.h"
#include "kernels/integer_gemm/layout.h"
#include "kernels/integer_gemm/sources_neon.h"

namespace fptq::kernels {
namespace {

// Tokens that share one panel.
constexpr std::size_t kTokenBlock = 96;

// One block of channels and one block of slabs. Arrays [groups, Order::kVectors, 4] are spread.
struct Panel {
  const std::uint8_t* weights;      // of the first slab, as the source has them
  const std::int32_t* zeros;        // spread; still to be subtracted from weights, or null
  const std::int32_t* weight_sums;  // spread, sum of code - zero; read where x has zero points
  const float* scales;              // spread
  // Where weights are those of a packed matrix: groups before the next record, groups of a record
  // and bytes between the codes of two. Elsewhere gap_bytes is 0.
  std::size_t groups_before_gap;
  std::size_t record_groups;
  std::size_t gap_bytes;
  const float* bias;     // [16] or null
  std::size_t channels;  // of the 16 that exist
  KBlock k;
  bool first;  // no group was finished before this block
  bool last;   // this block finishes the last group
};

// The tokens of one tile.
struct TileTokens {
  std::size_t count;
  const std::int8_t* x;  // codes at the panel's first slab
  std::size_t x_stride;
  const std::int32_t* x_sums;  // [tokens, groups of the panel]; read where panel.zeros is given
  const float* scales;
  const std::int32_t* zero_points;  // or null
  float* results;       // [sets, Order::kVectors, 4]. In memory: registers are for integer sums
  std::int32_t* carry;  // the same for the sums of an unfinished group
  float* y;
  std::size_t y_stride;
};

// The token of the tile that a set's token is: a set that lacks one repeats the tile's last.
template <typename Order>
std::size_t token_of(const TileTokens& tokens, std::size_t set, std::size_t i) {
  const std::size_t t = set * Order::kTokens + i;
  return t < tokens.count ? t : tokens.count - 1;
}

// What the sums of a group start from: -zero * sum x - x_zero * weight_sum, as far as it applies.
template <typename Order, std::size_t kSets>
inline __attribute__((always_inline)) void start_sums(const Panel& panel, const TileTokens& tokens,
                                                      std::size_t group,
                                                      TileSums<Order, kSets>& sums) {
  const std::size_t at = group * Order::kVectors * 4;
#pragma GCC unroll 8
  for (std::size_t s = 0; s < kSets; ++s) {
    if (panel.zeros == nullptr) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < Order::kVectors; ++v) sums[s][v] = vdupq_n_s32(0);
      continue;
    }
    std::int32_t negative[Order::kTokens];
    for (std::size_t i = 0; i < Order::kTokens; ++i) {
      negative[i] = -tokens.x_sums[token_of<Order>(tokens, s, i) * panel.k.groups + group];
    }
    const int32x4_t factor = Order::spread_tokens(negative);
#pragma GCC unroll 8
    for (std::size_t v = 0; v < Order::kVectors; ++v) {
      sums[s][v] = vmulq_s32(vld1q_s32(panel.zeros + at + v * 4), factor);
    }
  }
  if (tokens.zero_points == nullptr) return;
#pragma GCC unroll 8
  for (std::size_t s = 0; s < kSets; ++s) {
    std::int32_t zero_points[Order::kTokens];
    for (std::size_t i = 0; i < Order::kTokens; ++i) {
      zero_points[i] = tokens.zero_points[token_of<Order>(tokens, s, i)];
    }
    const int32x4_t x_zero = Order::spread_tokens(zero_points);
#pragma GCC unroll 8
    for (std::size_t v = 0; v < Order::kVectors; ++v) {
      sums[s][v] = vmlsq_s32(sums[s][v], vld1q_s32(panel.weight_sums + at + v * 4), x_zero);
    }
  }
}

// Finished results: y = result * x_scale (+ bias).
template <typename Order>
void store_results(const Panel& panel, const TileTokens& tokens) {
  for (std::size_t t = 0; t < tokens.count; t += Order::kTokens) {
    for (std::size_t v = 0; v < kQuadVectors; ++v) {
      const std::size_t channel = v * kQuadChannels;
      if (channel >= panel.channels) break;
      float32x4_t values[Order::kTokens];
      Order::gather_channels(tokens.results + t * kBlockRows + channel * Order::kTokens, values);
      for (std::size_t i = 0; i < Order::kTokens && t + i < tokens.count; ++i) {
        float* y = tokens.y + (t + i) * tokens.y_stride + channel;
        float32x4_t value = vmulq_n_f32(values[i], tokens.scales[t + i]);
        if (panel.bias != nullptr) value = vaddq_f32(value, vld1q_f32(panel.bias + channel));
        if (panel.channels - channel >= kQuadChannels) {
          vst1q_f32(y, value);
          continue;
        }
        float some[kQuadChannels];
        vst1q_f32(some, value);
        for (std::size_t c = 0; c < panel.channels - channel; ++c) y[c] = some[c];
      }
    }
  }
}

template <typename Order, typename Source, std::size_t kSets>
__attribute__((noinline)) void multiply_tile(const Panel& given_panel,
                                             const TileTokens& given_tokens) {
  // Copies, so that no store to results makes the compiler read pointers again.
  const Panel panel = given_panel;
  const TileTokens tokens = given_tokens;
  TileRows<Order, kSets> rows;
  for (std::size_t s = 0; s < kSets; ++s) {
    for (std::size_t i = 0; i < Order::kTokens; ++i) {
      rows[s][i] = tokens.x + token_of<Order>(tokens, s, i) * tokens.x_stride;
    }
  }
  if (panel.first) {
    for (std::size_t i = 0; i < kSets * Order::kVectors * 4; ++i) tokens.results[i] = 0.0f;
  }
  const std::uint8_t* w = panel.weights;
  std::size_t slab = 0;
  std::size_t groups_before_gap = panel.groups_before_gap;
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    const std::size_t left = panel.k.slabs - slab;
    const std::size_t slabs = left < panel.k.group_slabs ? left : panel.k.group_slabs;
    TileSums<Order, kSets> sums;
    start_sums<Order, kSets>(panel, tokens, g, sums);
    for (const std::size_t end = slab + slabs; slab < end; ++slab) {
      Source::template multiply_slab<Order, kSets>(w, rows, slab * kSlabCols, sums);
      w += Source::kSlabBytes;
    }
    if (--groups_before_gap == 0) {
      w += panel.gap_bytes;
      groups_before_gap = panel.record_groups;
    }
    if (panel.k.continues || panel.k.unfinished) {
#pragma GCC unroll 8
      for (std::size_t s = 0; s < kSets; ++s) {
#pragma GCC unroll 8
        for (std::size_t v = 0; v < Order::kVectors; ++v) {
          std::int32_t* carry = tokens.carry + (s * Order::kVectors + v) * 4;
          if (panel.k.continues) sums[s][v] = vaddq_s32(sums[s][v], vld1q_s32(carry));
          if (panel.k.unfinished) vst1q_s32(carry, sums[s][v]);
        }
      }
      if (panel.k.unfinished) return;
    }
#pragma GCC unroll 8
    for (std::size_t v = 0; v < Order::kVectors; ++v) {
      const float32x4_t scale = vld1q_f32(panel.scales + (g * Order::kVectors + v) * 4);
#pragma GCC unroll 8
      for (std::size_t s = 0; s < kSets; ++s) {
        float* result = tokens.results + (s * Order::kVectors + v) * 4;
        vst1q_f32(result, vfmaq_f32(vld1q_f32(result), vcvtq_f32_s32(sums[s][v]), scale));
      }
    }
  }
  if (panel.last) store_results<Order>(panel, tokens);
}

// What a panel needs beside its weights. kPanelSlabs: the most slabs of a panel.
template <typename Order, std::size_t kPanelSlabs>
struct PanelScratch {
  static constexpr std::size_t kGroupLanes = Order::kVectors * 4;
  // A tile's last set may be half used.
  static constexpr std::size_t kSums = kTokenBlock * kBlockRows;
  alignas(64) std::int32_t zeros[kPanelSlabs * kGroupLanes];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kGroupLanes];
  alignas(64) float scales[kPanelSlabs * kGroupLanes];
  alignas(64) float results[kSums];
  alignas(64) std::int32_t carry[kSums];
  alignas(64) std::int32_t x_sums[kTokenBlock * kPanelSlabs];
  alignas(64) float bias[kBlockRows];
};

// out [tokens, groups of the panel]: sums of the codes of tokens from `token` on.
inline void sum_inputs(const QuantizedActivations& x, std::size_t token, std::size_t tokens,
                       std::size_t slabs_of_row, const KBlock& k, std::int32_t* out) {
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::int16_t* pairs = x.pair_sums + ((token + t) * slabs_of_row + k.slab_begin) * 2;
    std::int32_t* sums = out + t * k.groups;
    if (k.group_slabs == 1) {
      for (std::size_t g = 0; g < k.groups; ++g) sums[g] = pairs[2 * g] + pairs[2 * g + 1];
      continue;
    }
    std::size_t slab = 0;
    for (std::size_t g = 0; g < k.groups; ++g) {
      const std::size_t end = slab + k.group_slabs < k.slabs ? slab + k.group_slabs : k.slabs;
      sums[g] = 0;
      for (; slab < end; ++slab) sums[g] += pairs[2 * slab] + pairs[2 * slab + 1];
    }
  }
}

// A number of each channel of a block.
using BlockFloats = float32x4_t[kQuadVectors];
using BlockInts = int32x4_t[kQuadVectors];

// A group's scales, widened to float32 exactly.
inline void load_scales(const void* stored, ElementType type, BlockFloats& scales) {
  if (type == ElementType::kF32) {
    const auto* from = static_cast<const float*>(stored);
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kQuadVectors; ++v) scales[v] = vld1q_f32(from + v * 4);
    return;
  }
  const auto* from = static_cast<const std::uint16_t*>(stored);
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kQuadVectors; ++v) {
    const uint16x4_t half = vld1_u16(from + v * 4);
    scales[v] = type == ElementType::kF16 ? vcvt_f32_f16(vreinterpret_f16_u16(half))
                                          : vreinterpretq_f32_u32(vshll_n_u16(half, 16));
  }
}

// A byte of each channel of a block, widened.
inline void widen_bytes(uint8x16_t bytes, BlockInts& numbers) {
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
  const uint16x8_t high = vmovl_u8(vget_high_u8(bytes));
  numbers[0] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low)));
  numbers[1] = vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low)));
  numbers[2] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high)));
  numbers[3] = vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)));
}

// Spreads numbers of the channels over group `group` of one of a panel's arrays.
template <typename Order>
void store_spread(std::int32_t* array, std::size_t group, const BlockInts& numbers) {
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kQuadVectors; ++v) {
    int32x4_t vectors[Order::kTokens];
    Order::spread_channels(numbers[v], vectors);
    for (std::size_t i = 0; i < Order::kTokens; ++i) {
      vst1q_s32(array + (group * Order::kVectors + v * Order::kTokens + i) * 4, vectors[i]);
    }
  }
}
template <typename Order>
void store_spread(float* array, std::size_t group, const BlockFloats& numbers) {
  BlockInts bits;
  for (std::size_t v = 0; v < kQuadVectors; ++v) bits[v] = vreinterpretq_s32_f32(numbers[v]);
  store_spread<Order>(reinterpret_cast<std::int32_t*>(array), group, bits);
}

using MultiplyTileFn = void (*)(const Panel& panel, const TileTokens& tokens);

// multiply_tile for so many sets.
template <typename Order, typename Source, std::size_t kMaxSets>
MultiplyTileFn tile_function(std::size_t sets) {
  static_assert(kMaxSets <= 6);
  if constexpr (kMaxSets > 1) {
    if (sets < kMaxSets) return tile_function<Order, Source, kMaxSets - 1>(sets);
  }
  return multiply_tile<Order, Source, kMaxSets>;
}

// Every block of channels and every block of slabs, each against all tokens, in tiles of nearly
// equal size and at most kMaxSets sets. prepare(block, panel) fills panel.weights and what its
// scratch holds for panel.k.
template <typename Order, typename Source, std::size_t kMaxSets, std::size_t kPanelSlabs,
          typename Prepare>
void multiply_panels(const IntegerGemmArgs& args, PanelScratch<Order, kPanelSlabs>& scratch,
                     const Prepare& prepare) {
  const KBlocks k_blocks(args.w.cols, args.w.group_width, kPanelSlabs);
  for (std::size_t token = 0; token < args.x.rows; token += kTokenBlock) {
    const std::size_t tokens =
        args.x.rows - token < kTokenBlock ? args.x.rows - token : kTokenBlock;
    for (std::size_t block = args.block_begin; block < args.block_end; ++block) {
      const std::size_t rest = args.w.rows - block * kBlockRows;
      Panel panel{.weights = nullptr,
                  .zeros = nullptr,
                  .weight_sums = scratch.weight_sums,
                  .scales = scratch.scales,
                  .groups_before_gap = 1,
                  .record_groups = 1,
                  .gap_bytes = 0,
                  .bias = args.bias == nullptr ? nullptr : scratch.bias,
                  .channels = rest < kBlockRows ? rest : kBlockRows,
                  .k = {},
                  .first = true,
                  .last = false};
      for (std::size_t c = 0; c < kBlockRows && args.bias != nullptr; ++c) {
        scratch.bias[c] = c < panel.channels ? args.bias[block * kBlockRows + c] : 0.0f;
      }
      for (std::size_t slab = 0; slab < k_blocks.slabs(); slab += panel.k.slabs) {
        panel.k = k_blocks.at(slab);
        panel.last = slab + panel.k.slabs == k_blocks.slabs();
        prepare(block, panel);
        if (panel.zeros != nullptr) {
          sum_inputs(args.x, token, tokens, k_blocks.slabs(), panel.k, scratch.x_sums);
        }
        const std::size_t sets = ceil_div(tokens, Order::kTokens);
        const std::size_t tiles = ceil_div(sets, kMaxSets);
        std::size_t done = 0;  // sets
        for (std::size_t i = 0; i < tiles; ++i) {
          const std::size_t count = (sets - done) / (tiles - i);
          const std::size_t first = done * Order::kTokens;
          const std::size_t m = token + first;
          const std::size_t wanted = count * Order::kTokens;
          tile_function<Order, Source, kMaxSets>(count)(
              panel,
              {.count = wanted < tokens - first ? wanted : tokens - first,
               .x = args.x.codes + m * args.x.stride + slab * kSlabCols,
               .x_stride = args.x.stride,
               .x_sums = scratch.x_sums + first * panel.k.groups,
               .scales = args.x.scales + m,
               .zero_points = args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
               .results = scratch.results + first * kBlockRows,
               .carry = scratch.carry + first * kBlockRows,
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
