// The register tile of the AMX products: 16 tokens times 16 channels, whose rows of activations and
// quads of weights are operands as they lie in memory. Include lanes_avx512.h and tile_vnni.h
// before it; a panel is the one of tile_vnni.h.
//
// The integer sums of a tile leave the tile registers through memory, which takes as long as the
// product of a slab. So where groups are short four tiles take turns: one is multiplied while the
// sums of another are stored and those of a third are scaled.

#pragma once

#include "kernels/integer_gemm/k_blocks.h"
#include "kernels/integer_gemm/layout.h"
#include "kernels/simd/amx_tiles.h"

namespace fptq::kernels {
namespace {

constexpr std::size_t kAmxTokens = kTileRegisterRows;
constexpr std::size_t kAmxSums = kAmxTokens * kBlockRows;
constexpr std::size_t kSumTiles = 4;
// Tokens that share one panel; their codes stay in the second-level cache.
constexpr std::size_t kAmxTokenBlock = 512;
// Blocks of channels whose results are kept at a time.
constexpr std::size_t kAmxBlocks = 8;
// Slabs from which on a group has four tiles at a time that share their operands.
constexpr std::size_t kLongGroupSlabs = 9;
// Bytes of a row of the tokens that do not fill a tile: no power of two, so that rows do not share
// one set of the cache.
constexpr std::size_t kTailStride = 2048 + 64;

// Tile registers: sums in 0 to 3, codes of tokens in 4 and 5, weights in 6 and 7.
constexpr int kTokenTile = 4;
constexpr int kWeightTile = 6;

// Weights that are signed bytes, or unsigned ones.
struct SignedWeights {
  // Whether the sum of a short group is below 2^22 in magnitude: 8 slabs of products of at most
  // 15 * 255.
  static constexpr bool kSmallSums = true;
  template <int kSum, int kToken, int kWeight>
  static inline __attribute__((always_inline)) void multiply() {
    add_signed_products<kSum, kToken, kWeight>();
  }
};
struct UnsignedWeights {
  static constexpr bool kSmallSums = false;
  template <int kSum, int kToken, int kWeight>
  static inline __attribute__((always_inline)) void multiply() {
    add_signed_unsigned_products<kSum, kToken, kWeight>();
  }
};

// Tile registers for operands of that many slabs (1 or 2).
inline void shape_operands(std::size_t slabs) {
  TileShapes shapes;
  for (int i = 0; i < 2; ++i) {
    shapes.row_bytes[kTokenTile + i] = static_cast<std::uint16_t>(slabs * kSlabCols);
    shapes.rows[kWeightTile + i] = static_cast<std::uint8_t>(slabs * kSlabCols / 4);
  }
  shape_tiles(shapes);
}

// Slabs of group g of a panel.
inline std::size_t slabs_of_group(const KBlock& k, std::size_t g) {
  const std::size_t rest = k.slabs - g * k.group_slabs;
  return rest < k.group_slabs ? rest : k.group_slabs;
}

template <bool kValue>
struct Bool {};

// One tile of a panel.
struct AmxTile {
  TileTokens tokens;   // carry: [kAmxSums]
  float* results;      // [kAmxSums], between two panels
  std::size_t rows;    // of the 16 tokens that exist
  std::size_t block;   // of the panel's
  __mmask16 channels;  // of the block's that exist
  const float* bias;   // of the block's channels, or null
};

// d of row `row` in group g, given what the tile register summed up.
inline __attribute__((always_inline)) Lanes corrected_sum(const Panel& panel, const AmxTile& tile,
                                                          std::size_t g, std::size_t row,
                                                          Lanes sum) {
  const std::size_t at = g * kTileRows + tile.block * kBlockRows;
  if (panel.zeros != nullptr) {
    const std::int32_t start = tile.tokens.start[row * tile.tokens.start_stride + g];
    sum = sum + broadcast_lanes(start) * load_lanes(panel.zeros + at);
  }
  if (tile.tokens.zero_points != nullptr) {
    const Lanes zero_point = broadcast_lanes(tile.tokens.zero_points[row]);
    sum = sum - zero_point * load_lanes(panel.weight_sums + at);
  }
  return sum;
}

// The result of row `row` so far; `first`: of no group yet.
inline FloatLanes load_result(const AmxTile& tile, std::size_t row, bool first) {
  return first ? zero_floats() : load_floats(tile.results + row * kBlockRows);
}

inline void store_result(const AmxTile& tile, std::size_t row, FloatLanes result) {
  store_floats(tile.results + row * kBlockRows, result);
}

// y = result * scale + bias of a row that exists.
inline void finish_row(const AmxTile& tile, std::size_t row, FloatLanes result) {
  result = result * broadcast_float(tile.tokens.scales[row]);
  if (tile.bias != nullptr) {
    result = result + FloatLanes{_mm512_maskz_loadu_ps(tile.channels, tile.bias)};
  }
  _mm512_mask_storeu_ps(tile.tokens.y + row * tile.tokens.y_stride, tile.channels, result.v);
}

// float(d), exactly rounded. kSmall: |d| < 2^22, which is then the low part of the float 1.5 * 2^23
// + d; a conversion would wait for the tile registers.
template <bool kSmall>
inline __attribute__((always_inline)) __m512 to_float(Lanes d) {
  if constexpr (!kSmall) return _mm512_cvtepi32_ps(d.v);
  const __m512i lifted = _mm512_add_epi32(d.v, _mm512_set1_epi32(0x4B400000));
  return _mm512_sub_ps(_mm512_castsi512_ps(lifted), _mm512_set1_ps(0x1.8p23f));
}

// Walks a tile's operands, which lie in the order in which they are multiplied. Members of a local
// object, because what is behind a reference would be read again after every tile instruction.
struct AmxOperands {
  const std::int8_t* x;
  std::size_t x_stride;
  const std::uint8_t* w;
  std::size_t slabs_left;
  std::size_t group_slabs;
};

// Tile register kSum: the products of the next group, kSlabs slabs at a time.
template <typename Weights, std::size_t kSlabs, bool kOneStep, int kSum>
inline __attribute__((always_inline)) void multiply_group(AmxOperands& operands) {
  constexpr int kTokens = kTokenTile + kSum % 2;
  constexpr int kWeights = kWeightTile + kSum % 2;
  zero_tile<kSum>();
  std::size_t slabs = kSlabs;
  if constexpr (!kOneStep) {
    const std::size_t rest = operands.slabs_left;
    slabs = rest < operands.group_slabs ? rest : operands.group_slabs;
    operands.slabs_left -= slabs;
  }
  do {
    load_tile<kTokens>(operands.x, operands.x_stride);
    load_tile<kWeights>(operands.w, kQuadBytes);
    Weights::template multiply<kSum, kTokens, kWeights>();
    operands.x += kSlabs * kSlabCols;
    operands.w += kSlabs * kSlabBytes8;
    slabs -= kSlabs;
  } while (!kOneStep && slabs != 0);
}

// Step g of multiply_short_groups(), where g % 4 = kSum: group g is multiplied, the sums of g - 2
// are stored, those of g - 3 scaled. kInside: all three groups exist.
template <typename Weights, std::size_t kSlabs, bool kOneStep, bool kPlain, bool kInside, int kSum>
inline __attribute__((always_inline)) void short_groups_step(
    const Panel& panel, const AmxTile& tile, AmxOperands& operands, const float* scales,
    std::size_t groups, std::size_t g, std::int32_t* sums, __m512 (&y)[kAmxTokens]) {
  constexpr int kStored = (kSum + 2) % 4;
  constexpr int kScaled = (kSum + 1) % 4;
  if (kInside || g < groups) multiply_group<Weights, kSlabs, kOneStep, kSum>(operands);
  if (kInside || g - 2 < groups) store_tile<kStored>(sums + kStored * kAmxSums);
  if (!kInside && g - 3 >= groups) return;
  const std::int32_t* from = sums + kScaled * kAmxSums;
  const FloatLanes scale = load_floats(scales + (g - 3) * kTileRows);
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kAmxTokens; ++row) {
    Lanes d = load_lanes(from + row * kBlockRows);
    if (!kPlain && row < tile.rows) d = corrected_sum(panel, tile, g - 3, row, d);
    y[row] = _mm512_fmadd_ps(to_float<Weights::kSmallSums>(d), scale.v, y[row]);
    asm volatile("" : "+v"(y[row]));
  }
}

// One tile against groups so short that each is over before its tile register's turn comes again.
//   sums      [kSumTiles, kAmxSums]
//   kOneStep  every group is kSlabs slabs
//   kPlain    no zero points on either side
template <typename Weights, std::size_t kSlabs, bool kOneStep, bool kPlain>
__attribute__((noinline)) void multiply_short_groups(const Panel& panel, const AmxTile& tile,
                                                     std::int32_t* sums) {
  __m512 y[kAmxTokens];
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kAmxTokens; ++row) {
    y[row] = load_result(tile, row, panel.first).v;
  }
  AmxOperands operands{.x = tile.tokens.x,
                       .x_stride = tile.tokens.x_stride,
                       .w = panel.weights + tile.block * panel.weight_stride,
                       .slabs_left = panel.k.slabs,
                       .group_slabs = panel.k.group_slabs};
  const float* scales = panel.scales + tile.block * kBlockRows;
  const std::size_t groups = panel.k.groups;
  const auto four_steps = [&]<bool kInside>(Bool<kInside>, std::size_t g)
      __attribute__((always_inline)) {
    short_groups_step<Weights, kSlabs, kOneStep, kPlain, kInside, 0>(panel, tile, operands, scales,
                                                                     groups, g, sums, y);
    short_groups_step<Weights, kSlabs, kOneStep, kPlain, kInside, 1>(panel, tile, operands, scales,
                                                                     groups, g + 1, sums, y);
    short_groups_step<Weights, kSlabs, kOneStep, kPlain, kInside, 2>(panel, tile, operands, scales,
                                                                     groups, g + 2, sums, y);
    short_groups_step<Weights, kSlabs, kOneStep, kPlain, kInside, 3>(panel, tile, operands, scales,
                                                                     groups, g + 3, sums, y);
  };
  four_steps(Bool<false>(), 0);
  std::size_t g = kSumTiles;
  for (; g + kSumTiles <= groups; g += kSumTiles) four_steps(Bool<true>(), g);
  for (; g < groups + 3; g += kSumTiles) four_steps(Bool<false>(), g);
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kAmxTokens; ++row) {
    if (!panel.last) {
      store_result(tile, row, {y[row]});
    } else if (row < tile.rows) {
      finish_row(tile, row, {y[row]});
    }
  }
}

// Scales and adds the sums of group g, or carries those of an unfinished one.
inline void finish_group(const Panel& panel, const AmxTile& tile, std::size_t g,
                         const std::int32_t* sums) {
  const FloatLanes scale = load_floats(panel.scales + g * kTileRows + tile.block * kBlockRows);
  const bool first = panel.first && g == 0;
  const bool last = panel.last && g + 1 == panel.k.groups;
  for (std::size_t row = 0; row < tile.rows; ++row) {
    Lanes d = corrected_sum(panel, tile, g, row, load_lanes(sums + row * kBlockRows));
    std::int32_t* carry = tile.tokens.carry + row * kBlockRows;
    if (panel.k.continues) d = d + load_lanes(carry);
    if (panel.k.unfinished) {
      store_lanes(carry, d);
      continue;
    }
    const FloatLanes result = add_scaled(d, scale, load_result(tile, row, first));
    if (last) {
      finish_row(tile, row, result);
    } else {
      store_result(tile, row, result);
    }
  }
}

// Two tiles of tokens against two blocks, or one (kTokens, kBlocks), which share their operands
// for a whole group. Tile register 2 * t + b has tokens t and block b.
//   tiles  [2 * t + b]
//   sums   [kSumTiles, kAmxSums]
template <typename Weights, std::size_t kSlabs, std::size_t kTokens, std::size_t kBlocks>
__attribute__((noinline)) void multiply_long_groups(const Panel& panel, const AmxTile* tiles,
                                                    std::int32_t* sums) {
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    const std::size_t begin = g * panel.k.group_slabs;
    const std::size_t end = begin + slabs_of_group(panel.k, g);
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
    for (std::size_t slab = begin; slab < end; slab += kSlabs) {
      const std::uint8_t* w = panel.weights + slab * kSlabBytes8;
      load_tile<kTokenTile>(tiles[0].tokens.x + slab * kSlabCols, tiles[0].tokens.x_stride);
      load_tile<kWeightTile>(w, kQuadBytes);
      Weights::template multiply<0, kTokenTile, kWeightTile>();
      if constexpr (kBlocks == 2) {
        load_tile<kWeightTile + 1>(w + panel.weight_stride, kQuadBytes);
        Weights::template multiply<1, kTokenTile, kWeightTile + 1>();
      }
      if constexpr (kTokens == 2) {
        load_tile<kTokenTile + 1>(tiles[2].tokens.x + slab * kSlabCols, tiles[2].tokens.x_stride);
        Weights::template multiply<2, kTokenTile + 1, kWeightTile>();
        if constexpr (kBlocks == 2) {
          Weights::template multiply<3, kTokenTile + 1, kWeightTile + 1>();
        }
      }
    }
    store_tile<0>(sums);
    if constexpr (kBlocks == 2) store_tile<1>(sums + kAmxSums);
    if constexpr (kTokens == 2) store_tile<2>(sums + 2 * kAmxSums);
    if constexpr (kTokens == 2 && kBlocks == 2) store_tile<3>(sums + 3 * kAmxSums);
    for (std::size_t t = 0; t < kTokens; ++t) {
      for (std::size_t b = 0; b < kBlocks; ++b) {
        const std::size_t i = 2 * t + b;
        finish_group(panel, tiles[i], g, sums + i * kAmxSums);
      }
    }
  }
}

// What a call keeps beside the panel. Results are kept here, tile by tile, until they are finished:
// rows of y are so far apart that they would share a few sets of the caches.
struct AmxScratch {
  alignas(64) float results[kAmxBlocks * kAmxTokenBlock * kBlockRows];
  alignas(64) std::int32_t carry[kTileBlocks * kAmxTokenBlock * kBlockRows];
  alignas(64) std::int32_t sums[kSumTiles * kAmxSums];
  // The tokens that do not fill a tile, at the inputs of a panel.
  alignas(64) std::int8_t tail[kAmxTokens * kTailStride];
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

// Which part of a product multiply_panel_amx() computes.
struct AmxRange {
  std::size_t token;   // the first
  std::size_t tokens;  // at most kAmxTokenBlock
  std::size_t block;   // the panel's first
  std::size_t slot;    // blocks of AmxScratch::results before the panel's first
};

// The tile of the b-th block of a panel and the range's tokens from `done` on.
inline AmxTile amx_tile(const IntegerGemmArgs& args, const Panel& panel, const AmxRange& range,
                        std::size_t done, std::size_t b, const std::int32_t* start,
                        AmxScratch& scratch) {
  const std::size_t m = range.token + done;
  const bool whole = done + kAmxTokens <= range.tokens;
  const std::size_t begin = b * kBlockRows;
  const std::size_t rest = begin < panel.channels ? panel.channels - begin : 0;
  const std::size_t y_begin = range.block * kBlockRows + begin;
  return {
      .tokens = {.x = whole ? args.x.codes + m * args.x.stride + panel.k.slab_begin * kSlabCols
                            : scratch.tail,
                 .x_stride = whole ? args.x.stride : kTailStride,
                 .start = start + done * panel.k.groups,
                 .start_stride = panel.k.groups,
                 .scales = args.x.scales + m,
                 .zero_points = args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
                 .carry = scratch.carry + (b * kAmxTokenBlock + done) * kBlockRows,
                 .y = args.y + m * args.y_stride + y_begin,
                 .y_stride = args.y_stride},
      .results = scratch.results + ((range.slot + b) * kAmxTokenBlock + done) * kBlockRows,
      .rows = whole ? kAmxTokens : range.tokens - done,
      .block = b,
      .channels = static_cast<__mmask16>(rest < kBlockRows ? (1U << rest) - 1 : 0xFFFFU),
      .bias = panel.bias == nullptr ? nullptr : panel.bias + begin};
}

template <typename Weights, std::size_t kSlabs>
void multiply_tiles(const Panel& panel, const AmxTile* tiles, std::size_t token_tiles,
                    AmxScratch& scratch) {
  const std::size_t blocks = panel.channels > kBlockRows ? 2 : 1;
  if (panel.k.group_slabs >= kLongGroupSlabs || panel.k.continues || panel.k.unfinished) {
    if (token_tiles == 2 && blocks == 2) {
      return multiply_long_groups<Weights, kSlabs, 2, 2>(panel, tiles, scratch.sums);
    }
    if (token_tiles == 2) {
      return multiply_long_groups<Weights, kSlabs, 2, 1>(panel, tiles, scratch.sums);
    }
    if (blocks == 2) {
      return multiply_long_groups<Weights, kSlabs, 1, 2>(panel, tiles, scratch.sums);
    }
    return multiply_long_groups<Weights, kSlabs, 1, 1>(panel, tiles, scratch.sums);
  }
  const bool plain = panel.zeros == nullptr && tiles[0].tokens.zero_points == nullptr;
  const bool one_step = panel.k.group_slabs == kSlabs;
  auto multiply = plain ? multiply_short_groups<Weights, kSlabs, false, true>
                        : multiply_short_groups<Weights, kSlabs, false, false>;
  if (plain && one_step) multiply = multiply_short_groups<Weights, kSlabs, true, true>;
  for (std::size_t t = 0; t < token_tiles; ++t) {
    for (std::size_t b = 0; b < blocks; ++b) multiply(panel, tiles[2 * t + b], scratch.sums);
  }
}

// Every token of a range against one panel; copy_tail() was called for them.
//   start  [tokens, groups], read where the panel has zeros
template <typename Weights>
void multiply_panel_amx(const IntegerGemmArgs& args, const Panel& panel, const AmxRange& range,
                        const std::int32_t* start, AmxScratch& scratch) {
  const bool pairs = panel.k.slabs % 2 == 0 && panel.k.group_slabs % 2 == 0;
  shape_operands(pairs ? 2 : 1);
  const auto multiply = pairs ? multiply_tiles<Weights, 2> : multiply_tiles<Weights, 1>;
  for (std::size_t done = 0; done < range.tokens; done += 2 * kAmxTokens) {
    AmxTile tiles[kSumTiles];
    const std::size_t token_tiles = range.tokens - done > kAmxTokens ? 2 : 1;
    for (std::size_t t = 0; t < token_tiles; ++t) {
      for (std::size_t b = 0; b < kTileBlocks; ++b) {
        tiles[2 * t + b] = amx_tile(args, panel, range, done + t * kAmxTokens, b, start, scratch);
      }
    }
    multiply(panel, tiles, token_tiles, scratch);
  }
}

// for_each_panel() for kAmxBlocks blocks at a time.
//   start(token, tokens, k)  as there
//   multiply(range, k)       for every panel
template <typename Start, typename Multiply>
void for_each_panel_amx(const IntegerGemmArgs& args, const KBlocks& k_blocks, const Start& start,
                        const Multiply& multiply) {
  for (std::size_t begin = args.block_begin; begin < args.block_end; begin += kAmxBlocks) {
    IntegerGemmArgs some = args;
    some.block_begin = begin;
    if (args.block_end - begin > kAmxBlocks) some.block_end = begin + kAmxBlocks;
    for_each_panel(some, k_blocks, kAmxTokenBlock, kTileBlocks, start,
                   [&](std::size_t token, std::size_t tokens, std::size_t block, const KBlock& k) {
                     multiply(AmxRange{token, tokens, block, block - begin}, k);
                   });
  }
}

}  // namespace
}  // namespace fptq::kernels
