// What the AMX products of short groups and of long ones share: a tile of 16 tokens times 16
// channels, whose rows of activations and quads of weights are operands as they lie in memory.
// Include lanes_avx512.h and tile_vnni.h before it; a panel is the one of tile_vnni.h, but its
// weights are signed bytes.

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
// Slabs of a panel, about (amx_panel_slabs()) and at most: the weights of two blocks leave half of
// the first-level cache to the codes of two tiles.
constexpr std::size_t kAmxUsualSlabs = 16;
constexpr std::size_t kAmxPanelSlabs = 24;
// Slabs from which on a group has four tiles at a time that share their operands.
constexpr std::size_t kLongGroupSlabs = 9;
// Tile registers: sums in 0 to 3, codes of tokens in 4 and 5, weights in 6 and 7.
constexpr int kTokenTile = 4;
constexpr int kWeightTile = 6;

// The slabs of a panel of a matrix of that many, an even number: panels of nearly equal size.
constexpr std::size_t amx_panel_slabs(std::size_t slabs) {
  const std::size_t panels = (slabs + kAmxUsualSlabs / 2) / kAmxUsualSlabs;
  if (panels == 0) return kAmxUsualSlabs;
  return ceil_div(ceil_div(slabs, panels), 2) * 2;
}
static_assert(amx_panel_slabs(23) <= kAmxPanelSlabs && amx_panel_slabs(39) <= kAmxPanelSlabs);

// Tile registers for operands of that many slabs (1 or 2).
inline void shape_operands(std::size_t slabs) {
  TileShapes shapes;
  for (int i = 0; i < 2; ++i) {
    shapes.row_bytes[kTokenTile + i] = static_cast<std::uint16_t>(slabs * kSlabCols);
    shapes.rows[kWeightTile + i] = static_cast<std::uint8_t>(slabs * kSlabCols / 4);
  }
  shape_tiles(shapes);
}

// A constant that a lambda takes as an argument.
template <int kValue>
struct Constant {};

// One tile of a panel.
struct AmxTile {
  TileTokens tokens;   // carry and results: [kAmxSums]
  std::size_t rows;    // of the 16 tokens that exist
  std::size_t block;   // of the panel's
  __mmask16 channels;  // of the block's that exist
  const float* bias;   // of the block's channels, or null
};

// d of row `row` in group g, given the sum of products of codes.
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
  return first ? zero_floats() : load_floats(tile.tokens.results + row * kBlockRows);
}

// y = result * scale + bias of a row that exists.
inline void finish_row(const AmxTile& tile, std::size_t row, FloatLanes result) {
  result = result * broadcast_float(tile.tokens.scales[row]);
  if (tile.bias != nullptr) {
    result = result + FloatLanes{_mm512_maskz_loadu_ps(tile.channels, tile.bias)};
  }
  float* to = tile.tokens.y + row * tile.tokens.y_stride;
  if (tile.tokens.streamed) {
    stream_floats(to, result);
  } else {
    _mm512_mask_storeu_ps(to, tile.channels, result.v);
  }
}

// Keeps the result of a row for the next panel, or finishes it.
inline __attribute__((always_inline)) void keep_result(const Panel& panel, const AmxTile& tile,
                                                       std::size_t row, FloatLanes result) {
  if (!panel.last) {
    store_floats(tile.tokens.results + row * kBlockRows, result);
  } else if (row < tile.rows) {
    finish_row(tile, row, result);
  }
}

}  // namespace
}  // namespace fptq::kernels
