// The loops of an AMX product: panels of signed weight bytes against every token.

#pragma once

#include "kernels/integer_gemm/long_groups_amx.h"
#include "kernels/integer_gemm/short_groups_amx.h"

namespace fptq::kernels {
namespace {

// Blocks of channels whose results are kept at a time.
constexpr std::size_t kAmxBlocks = 8;
// Bytes of a row of the tokens that do not fill a tile: no power of two, so that rows do not share
// one set of the cache.
constexpr std::size_t kTailStride = kAmxPanelSlabs * kSlabCols + 64;

// What a call keeps beside a panel. Results are kept here, tile by tile, until they are finished:
// rows of y are so far apart that they would share a few sets of the caches.
struct AmxScratch {
  alignas(64) float results[kAmxBlocks * kAmxTokenBlock * kBlockRows];
  alignas(64) std::int32_t carry[kAmxBlocks * kAmxTokenBlock * kBlockRows];
  alignas(64) std::int32_t sums[kSumTiles * kAmxSums];
  // The tokens that do not fill a tile, at the inputs of a panel.
  alignas(64) std::int8_t tail[kAmxTokens * kTailStride];
};

// Which part of a product multiply_panel_amx() computes.
struct AmxRange {
  std::size_t token;   // the first
  std::size_t tokens;  // at most kAmxTokenBlock
  std::size_t block;   // the panel's first
  std::size_t slot;    // blocks whose results come before the panel's
};

// Copies the codes of tokens that do not fill a tile to where a whole one may be read.
inline void copy_tail(const QuantizedActivations& x, std::size_t token, std::size_t tokens,
                      const KBlock& k, AmxScratch& scratch) {
  const std::size_t rows = tokens % kAmxTokens;
  if (rows == 0) return;
  const std::size_t bytes = k.slabs * kSlabCols;
  for (std::size_t row = 0; row < kAmxTokens; ++row) {
    std::int8_t* to = scratch.tail + row * kTailStride;
    if (row >= rows) {
      __builtin_memset(to, 0, bytes);
      continue;
    }
    const std::size_t from = token + tokens - rows + row;
    __builtin_memcpy(to, x.codes + from * x.stride + k.slab_begin * kSlabCols, bytes);
  }
}

// The tile of the b-th block of a panel and the range's tokens from `done` on.
inline AmxTile amx_tile(const IntegerGemmArgs& args, const Panel& panel, const AmxRange& range,
                        std::size_t done, std::size_t b, const std::int32_t* start,
                        AmxScratch& scratch) {
  const std::size_t m = range.token + done;
  const bool whole = done + kAmxTokens <= range.tokens;
  const std::size_t begin = b * kBlockRows;
  const std::size_t rest = begin < panel.channels ? panel.channels - begin : 0;
  const std::size_t slot = ((range.slot + b) * kAmxTokenBlock + done) * kBlockRows;
  float* y = args.y + m * args.y_stride + range.block * kBlockRows + begin;
  return {
      .tokens = {.x = whole ? args.x.codes + m * args.x.stride + panel.k.slab_begin * kSlabCols
                            : scratch.tail,
                 .x_stride = whole ? args.x.stride : kTailStride,
                 .start = start + done * panel.k.groups,
                 .start_stride = panel.k.groups,
                 .scales = args.x.scales + m,
                 .zero_points = args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
                 .carry = scratch.carry + slot,
                 .results = scratch.results + slot,
                 .y = y,
                 .y_stride = args.y_stride,
                 .streamed = rest >= kBlockRows && results_are_streamed(args, y)},
      .rows = whole ? kAmxTokens : range.tokens - done,
      .block = b,
      .channels = static_cast<__mmask16>(rest < kBlockRows ? (1U << rest) - 1 : 0xFFFFU),
      .bias = panel.bias == nullptr ? nullptr : panel.bias + begin};
}

template <std::size_t kSlabs>
void multiply_tiles(const IntegerGemmArgs& args, const Panel& panel, const AmxRange& range,
                    const std::int32_t* start, AmxScratch& scratch) {
  shape_operands(kSlabs);
  const std::size_t blocks = panel.channels > kBlockRows ? 2 : 1;
  const std::size_t token_tiles = ceil_div(range.tokens, kAmxTokens);
  const bool plain = panel.zeros == nullptr && args.x.zero_points == nullptr;
  const auto make = [&](std::size_t t, std::size_t b) {
    return amx_tile(args, panel, range, t * kAmxTokens, b, start, scratch);
  };
  if (panel.k.group_slabs >= kLongGroupSlabs || panel.k.continues || panel.k.unfinished) {
    return multiply_long_tiles<kSlabs>(panel, make, token_tiles, blocks, plain, scratch.sums);
  }
  multiply_short_tiles<kSlabs>(
      panel, [&](std::size_t i) { return make(i / blocks, i % blocks); }, token_tiles * blocks,
      plain, scratch.sums);
}

// Every token of a range against one panel; copy_tail() was called for them.
//   start  [tokens, groups], read where the panel has zeros
inline void multiply_panel_amx(const IntegerGemmArgs& args, const Panel& panel,
                               const AmxRange& range, const std::int32_t* start,
                               AmxScratch& scratch) {
  if (panel.k.slabs % 2 == 0 && panel.k.group_slabs % 2 == 0) {
    multiply_tiles<2>(args, panel, range, start, scratch);
  } else {
    multiply_tiles<1>(args, panel, range, start, scratch);
  }
}

// Calls multiply(range, k) for every panel of two blocks.
//   start(token, tokens, k)  before the panels of a range of inputs
template <typename Start, typename Multiply>
void for_each_panel_amx(const IntegerGemmArgs& args, const Start& start, const Multiply& multiply) {
  const KBlocks k_blocks(args.w.cols, args.w.group_width, amx_panel_slabs(slab_count(args.w.cols)));
  for_each_panel_of_chunks(args, k_blocks, kAmxTokenBlock, kAmxBlocks, kTileBlocks, start,
                           [&](std::size_t token, std::size_t tokens, std::size_t block,
                               std::size_t slot, const KBlock& k) {
                             multiply(AmxRange{token, tokens, block, slot}, k);
                           });
  release_tiles();
  finish_streaming();
}

}  // namespace
}  // namespace fptq::kernels
