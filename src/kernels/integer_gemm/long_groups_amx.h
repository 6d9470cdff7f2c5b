// AMX products whose groups are long: four tiles, two of tokens times two of channels, share their
// operands, and sums stay in the tile registers for a whole group or all of it that a panel has.

#pragma once

#include "kernels/integer_gemm/tile_amx.h"

namespace fptq::kernels {
namespace {

// Tile register kTile: nothing, or what earlier panels of the group summed up.
template <int kTile>
inline __attribute__((always_inline)) void begin_sums(bool continues, const std::int32_t* carry) {
  if (continues) {
    load_tile<kTile>(carry);
  } else {
    zero_tile<kTile>();
  }
}

// Adds the products of `slabs` slabs from `slab` on to the tile registers 2 * t + b of tokens t and
// block b.
template <std::size_t kSlabs, std::size_t kTokens, std::size_t kBlocks>
inline __attribute__((always_inline)) void add_shared_products(const Panel& panel,
                                                               const AmxTile* tiles,
                                                               std::size_t slab,
                                                               std::size_t slabs) {
  const std::int8_t* x0 = tiles[0].tokens.x + slab * kSlabCols;
  const std::int8_t* x1 = kTokens == 1 ? nullptr : tiles[2].tokens.x + slab * kSlabCols;
  const std::size_t x_stride0 = tiles[0].tokens.x_stride;
  const std::size_t x_stride1 = kTokens == 1 ? 0 : tiles[2].tokens.x_stride;
  const std::uint8_t* w0 = panel.weights + slab * kSlabBytes8;
  const std::uint8_t* w1 = w0 + panel.weight_stride;
  for (std::size_t done = 0; done < slabs; done += kSlabs) {
    load_tile<kTokenTile>(x0 + done * kSlabCols, x_stride0);
    load_tile<kWeightTile>(w0 + done * kSlabBytes8);
    add_signed_products<0, kTokenTile, kWeightTile>();
    if constexpr (kBlocks == 2) {
      load_tile<kWeightTile + 1>(w1 + done * kSlabBytes8);
      add_signed_products<1, kTokenTile, kWeightTile + 1>();
    }
    if constexpr (kTokens == 2) {
      load_tile<kTokenTile + 1>(x1 + done * kSlabCols, x_stride1);
      add_signed_products<2, kTokenTile + 1, kWeightTile>();
      if constexpr (kBlocks == 2) add_signed_products<3, kTokenTile + 1, kWeightTile + 1>();
    }
  }
}

// Sums of a part of a group: what zero points add to it.
inline void correct_carry(const Panel& panel, const AmxTile& tile) {
  for (std::size_t row = 0; row < tile.rows; ++row) {
    std::int32_t* carry = tile.tokens.carry + row * kBlockRows;
    store_lanes(carry, corrected_sum(panel, tile, 0, row, load_lanes(carry)));
  }
}

// Scales the sums of group g and adds them to the results so far.
inline void scale_sums(const Panel& panel, const AmxTile& tile, std::size_t g, bool plain,
                       const std::int32_t* sums) {
  const FloatLanes scale = load_floats(panel.scales + g * kTileRows + tile.block * kBlockRows);
  const bool first = panel.first && g == 0;
  const bool last = panel.last && g + 1 == panel.k.groups;
  for (std::size_t row = 0; row < tile.rows; ++row) {
    Lanes d = load_lanes(sums + row * kBlockRows);
    if (!plain) d = corrected_sum(panel, tile, g, row, d);
    const FloatLanes result = add_scaled(d, scale, load_result(tile, row, first));
    if (last) {
      finish_row(tile, row, result);
    } else {
      store_floats(tile.tokens.results + row * kBlockRows, result);
    }
  }
}

// Two tiles of tokens times two blocks, or one (kTokens, kBlocks).
//   tiles  [2 * t + b]
//   sums   [kSumTiles, kAmxSums]
template <std::size_t kSlabs, std::size_t kTokens, std::size_t kBlocks>
__attribute__((noinline)) void multiply_long_groups(const Panel& panel, const AmxTile* tiles,
                                                    bool plain, std::int32_t* sums) {
  const KBlock& k = panel.k;
  const auto for_each_tile = [&](const auto& visit) __attribute__((always_inline)) {
    visit(Constant<0>());
    if constexpr (kBlocks == 2) visit(Constant<1>());
    if constexpr (kTokens == 2) visit(Constant<2>());
    if constexpr (kTokens == 2 && kBlocks == 2) visit(Constant<3>());
  };
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t begin = g * k.group_slabs;
    const std::size_t slabs = k.slabs - begin < k.group_slabs ? k.slabs - begin : k.group_slabs;
    for_each_tile([&]<int i>(Constant<i>) __attribute__((always_inline)) {
      begin_sums<i>(k.continues, tiles[i].tokens.carry);
    });
    add_shared_products<kSlabs, kTokens, kBlocks>(panel, tiles, begin, slabs);
    for_each_tile([&]<int i>(Constant<i>) __attribute__((always_inline)) {
      store_tile<i>(k.unfinished ? tiles[i].tokens.carry : sums + i * kAmxSums);
    });
    for_each_tile([&]<int i>(Constant<i>) __attribute__((always_inline)) {
      if (!k.unfinished) {
        scale_sums(panel, tiles[i], g, plain, sums + i * kAmxSums);
      } else if (!plain) {
        correct_carry(panel, tiles[i]);
      }
    });
  }
}

// Every tile of a panel.
//   make  make(t, b): the tile of the t-th 16 tokens and block b
template <std::size_t kSlabs, typename MakeTile>
void multiply_long_tiles(const Panel& panel, const MakeTile& make, std::size_t token_tiles,
                         std::size_t blocks, bool plain, std::int32_t* sums) {
  for (std::size_t t = 0; t < token_tiles; t += 2) {
    const bool two = token_tiles - t > 1;
    AmxTile tiles[kSumTiles];
    for (std::size_t b = 0; b < blocks; ++b) {
      tiles[b] = make(t, b);
      if (two) tiles[2 + b] = make(t + 1, b);
    }
    if (two && blocks == 2) {
      multiply_long_groups<kSlabs, 2, 2>(panel, tiles, plain, sums);
    } else if (two) {
      multiply_long_groups<kSlabs, 2, 1>(panel, tiles, plain, sums);
    } else if (blocks == 2) {
      multiply_long_groups<kSlabs, 1, 2>(panel, tiles, plain, sums);
    } else {
      multiply_long_groups<kSlabs, 1, 1>(panel, tiles, plain, sums);
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
