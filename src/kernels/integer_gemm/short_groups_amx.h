// AMX products whose groups are short. The integer sums of a tile leave the tile registers through
// memory once per group, which takes as long as the product of a slab. So four tile registers take
// turns: one is multiplied while the sums of another are stored and those of a third are scaled,
// from the first tile of a panel to its last without a pause.
//
// While tiles are multiplied the processor has one port for vectors of 512 bits instead of two: the
// three instructions per row that convert and scale sums are the limit with groups of one slab.

#pragma once

#include "kernels/integer_gemm/tile_amx.h"

namespace fptq::kernels {
namespace {

// float(d) of a short group, exactly rounded. kSmall: |d| < 2^22, which is then the low part of the
// float 1.5 * 2^23 + d; a conversion would wait for the tile registers. That holds where no
// zero points are left: 8 slabs of products of 127 * 128.
template <bool kSmall>
inline __attribute__((always_inline)) __m512 to_float(Lanes d) {
  if constexpr (!kSmall) return _mm512_cvtepi32_ps(d.v);
  const __m512i lifted = _mm512_add_epi32(d.v, _mm512_set1_epi32(0x4B400000));
  return _mm512_sub_ps(_mm512_castsi512_ps(lifted), _mm512_set1_ps(0x1.8p23f));
}
static_assert((kLongGroupSlabs - 1) * kSlabCols * 127 * 128 < (1 << 22));

// Walks the operands of a tile, which lie in the order in which they are multiplied. Members of a
// local object, because what is behind a reference would be read again after every tile
// instruction.
struct AmxOperands {
  const std::int8_t* x;
  std::size_t x_stride;
  const std::uint8_t* w;
  std::size_t slabs_left;
  std::size_t group_slabs;
};

inline __attribute__((always_inline)) AmxOperands operands_of(const Panel& panel,
                                                              const AmxTile& tile) {
  return {.x = tile.tokens.x,
          .x_stride = tile.tokens.x_stride,
          .w = panel.weights + tile.block * panel.weight_stride,
          .slabs_left = panel.k.slabs,
          .group_slabs = panel.k.group_slabs};
}

// Tile register kSum: the products of the next group, kSlabs slabs at a time.
//   kSteps  of kSlabs slabs in the group; 0: as the panel says
template <std::size_t kSlabs, std::size_t kSteps, int kSum>
inline __attribute__((always_inline)) void multiply_group(AmxOperands& operands) {
  const auto step = [&]<int kOdd>(Constant<kOdd>) __attribute__((always_inline)) {
    load_tile<kTokenTile + kOdd>(operands.x, operands.x_stride);
    load_tile<kWeightTile + kOdd>(operands.w, kQuadBytes);
    add_signed_products<kSum, kTokenTile + kOdd, kWeightTile + kOdd>();
    operands.x += kSlabs * kSlabCols;
    operands.w += kSlabs * kSlabBytes8;
  };
  zero_tile<kSum>();
  if constexpr (kSteps == 1) {
    step(Constant<kSum % 2>());
  } else if constexpr (kSteps == 2) {
    step(Constant<0>());
    step(Constant<1>());
  } else {
    const std::size_t rest = operands.slabs_left;
    const std::size_t slabs = rest < operands.group_slabs ? rest : operands.group_slabs;
    operands.slabs_left -= slabs;
    for (std::size_t slab = 0; slab < slabs; slab += kSlabs) step(Constant<0>());
  }
}

// What multiply_short_groups() is compiled for.
//   kSlabs, kSteps  multiply_group()'s
//   kPlain          no zero points on either side
//   kWhole          the groups of a panel are a multiple of four
template <std::size_t kSlabs_, std::size_t kSteps_, bool kPlain_, bool kWhole_>
struct ShortGroups {
  static constexpr std::size_t kSlabs = kSlabs_;
  static constexpr std::size_t kSteps = kSteps_;
  static constexpr bool kPlain = kPlain_;
  static constexpr bool kWhole = kWhole_;
};

// Group `ahead` of the operands is multiplied, the sums of the group after g are stored, those of g
// are scaled and added to y. Groups from the panel's end to the next multiple of four are skipped.
template <typename Kind, int kSum>
inline __attribute__((always_inline)) void short_groups_step(const Panel& panel,
                                                             const AmxTile& tile,
                                                             AmxOperands& operands, std::size_t g,
                                                             std::size_t ahead, std::int32_t* sums,
                                                             __m512 (&y)[kAmxTokens]) {
  constexpr int kMultiplied = (kSum + 3) % 4;
  constexpr int kStored = (kSum + 1) % 4;
  if (Kind::kWhole || ahead < panel.k.groups) {
    multiply_group<Kind::kSlabs, Kind::kSteps, kMultiplied>(operands);
  }
  store_tile<kStored>(sums + kStored * kAmxSums);
  if (!Kind::kWhole && g >= panel.k.groups) return;
  const std::int32_t* from = sums + kSum * kAmxSums;
  const FloatLanes scale = load_floats(panel.scales + g * kTileRows + tile.block * kBlockRows);
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kAmxTokens; ++row) {
    Lanes d = load_lanes(from + row * kBlockRows);
    if (!Kind::kPlain && row < tile.rows) d = corrected_sum(panel, tile, g, row, d);
    y[row] = _mm512_fmadd_ps(to_float<Kind::kPlain>(d), scale.v, y[row]);
    asm volatile("" : "+v"(y[row]));
  }
}

// `count` tiles of a panel, of groups so short that each is over before its tile register's turn
// comes again. Products are three groups ahead of their scales, beyond the end of a tile too; after
// the last tile its first three are computed again, for nothing.
//   make  make(i): the i-th tile
//   sums  [kSumTiles, kAmxSums]
template <typename Kind, typename MakeTile>
__attribute__((noinline)) void multiply_short_groups(const Panel& panel, const MakeTile& make,
                                                     std::size_t count, std::int32_t* sums) {
  const std::size_t groups = ceil_div(panel.k.groups, kSumTiles) * kSumTiles;
  AmxTile tile = make(0);
  AmxOperands operands = operands_of(panel, tile);
  multiply_group<Kind::kSlabs, Kind::kSteps, 0>(operands);
  if (Kind::kWhole || panel.k.groups > 1) {
    multiply_group<Kind::kSlabs, Kind::kSteps, 1>(operands);
  }
  if (Kind::kWhole || panel.k.groups > 2) {
    multiply_group<Kind::kSlabs, Kind::kSteps, 2>(operands);
  }
  store_tile<0>(sums);
  __m512 y[kAmxTokens];
  for (std::size_t i = 0; i < count; ++i) {
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kAmxTokens; ++row) {
      y[row] = load_result(tile, row, panel.first).v;
    }
    const AmxTile next = i + 1 < count ? make(i + 1) : tile;
    for (std::size_t g = 0; g < groups; g += kSumTiles) {
      short_groups_step<Kind, 0>(panel, tile, operands, g, g + 3, sums, y);
      std::size_t ahead = g + kSumTiles;
      if (ahead == groups) {
        ahead = 0;
        operands = operands_of(panel, next);
      }
      short_groups_step<Kind, 1>(panel, tile, operands, g + 1, ahead, sums, y);
      short_groups_step<Kind, 2>(panel, tile, operands, g + 2, ahead + 1, sums, y);
      short_groups_step<Kind, 3>(panel, tile, operands, g + 3, ahead + 2, sums, y);
    }
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kAmxTokens; ++row) keep_result(panel, tile, row, {y[row]});
    tile = next;
  }
}

// Chooses how it is compiled.
template <std::size_t kSlabs, typename MakeTile>
void multiply_short_tiles(const Panel& panel, const MakeTile& make, std::size_t count, bool plain,
                          std::int32_t* sums) {
  if (!plain) {
    return multiply_short_groups<ShortGroups<kSlabs, 0, false, false>>(panel, make, count, sums);
  }
  const bool whole =
      panel.k.groups % kSumTiles == 0 && panel.k.slabs == panel.k.groups * panel.k.group_slabs;
  if (whole && panel.k.group_slabs == kSlabs) {
    return multiply_short_groups<ShortGroups<kSlabs, 1, true, true>>(panel, make, count, sums);
  }
  if (whole && panel.k.group_slabs == 2 * kSlabs) {
    return multiply_short_groups<ShortGroups<kSlabs, 2, true, true>>(panel, make, count, sums);
  }
  multiply_short_groups<ShortGroups<kSlabs, 0, true, false>>(panel, make, count, sums);
}

}  // namespace
}  // namespace fptq::kernels
