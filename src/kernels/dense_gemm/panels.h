// The product of many tokens with weights that are widened to float32 tile by tile, whatever they
// are stored as. Written once over Vec; include a vec_<isa>.h before it.
//
// Every token of a block reuses a tile of w in scratch:
//
//   for kBlockM tokens, for kBlockN channels
//     for kBlockK of k             x block in L2; partial sums wait in scratch, in L2
//       for kTileN channels        w tile [kTileN, kBlockK] as float32, in L1
//         for kTileM tokens        kTileM x kTileN sums in registers, one part of the lanes a pass

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

inline constexpr std::size_t kTileM = Vec::kRegisters == 32 ? 4 : Vec::kRegisters == 16 ? 3 : 2;
inline constexpr std::size_t kTileN = Vec::kRegisters == 32 ? 6 : Vec::kRegisters == 16 ? 4 : 2;
inline constexpr std::size_t kBlockK = 640;  // 15 KiB of w and 10 KiB of x
// Floats between rows of the w tile: not a multiple of 4096 bytes, which would put all rows into
// the same sets of the L1 cache.
inline constexpr std::size_t kTileStride = kBlockK + 16;
inline constexpr std::size_t kBlockM = 96;
inline constexpr std::size_t kBlockN = 24;
inline constexpr std::size_t kPanelScratchFloats =
    kTileN * kTileStride + kBlockM * kBlockN * kVirtualLanes + kVirtualLanes;

static_assert(kBlockM % kTileM == 0 && kBlockN % kTileN == 0);
static_assert(kBlockK % kVirtualLanes == 0);

// y[i, j] = sum_k x[i, k] * w[j, k] with the order of sums of dense_gemm/contract.h.
struct PanelProduct {
  const float* x;  // [m, k]
  std::size_t x_stride;
  float* y;  // [m, n] out
  std::size_t y_stride;
  std::size_t m;
  std::size_t n;
  std::size_t k;
  float* scratch;  // [kPanelScratchFloats]
};

// The product that a kernel's arguments ask for, but for the rows of w.
template <typename Args>
PanelProduct panel_product(const Args& args) {
  return {args.x, args.x_stride, args.y, args.y_stride, args.m, args.n, args.k, args.scratch};
}

inline std::size_t at_most(std::size_t value, std::size_t limit) {
  return value < limit ? value : limit;
}

inline void prefetch_bytes(const void* first, std::size_t bytes) {
  constexpr std::size_t kLineBytes = 64;
  for (std::size_t byte = 0; byte < bytes; byte += kLineBytes) {
    prefetch(static_cast<const unsigned char*>(first) + byte);
  }
}

// A part of the lanes of a tile's channels at `i`, from the tile itself.
struct WidenedTile {
  const float* tile;

  [[nodiscard]] Vec load(std::size_t c, std::size_t i) const {
    return load_f32(tile + c * kTileStride + i);
  }
};

// sums[r, c, :] += the 16 partial sums of kRows tokens and kTileN channels over `count` of k;
// `first`: starts from zero instead. w.load(c, i): the Vec of channel c from i on, i + Vec::kLanes
// <= count rounded down to whole lanes; `tile` holds what is behind.
template <std::size_t kRows, typename Source>
void multiply_tile(const float* x, std::size_t x_stride, const Source& w, const float* tile,
                   std::size_t count, bool first, float* sums) {
  const std::size_t whole = count / kVirtualLanes * kVirtualLanes;
  for (std::size_t part = 0; part < kParts; ++part) {
    const std::size_t lane = part * Vec::kLanes;
    Vec sum[kRows][kTileN];
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t c = 0; c < kTileN; ++c) {
        sum[r][c] = first ? vec_zero() : load_f32(sums + (r * kTileN + c) * kVirtualLanes + lane);
      }
    }
    for (std::size_t i = lane; i < whole; i += kVirtualLanes) {
      Vec ws[kTileN];
      for (std::size_t c = 0; c < kTileN; ++c) ws[c] = w.load(c, i);
      for (std::size_t r = 0; r < kRows; ++r) {
        const Vec xs = load_f32(x + r * x_stride + i);
        for (std::size_t c = 0; c < kTileN; ++c) sum[r][c] = fma(ws[c], xs, sum[r][c]);
      }
    }
    if (whole < count) {
      for (std::size_t r = 0; r < kRows; ++r) {
        const F32x16 xs =
            load16_partial<ElementType::kF32>(x + r * x_stride + whole, count - whole);
        for (std::size_t c = 0; c < kTileN; ++c) {
          const Vec ws = load_f32(tile + c * kTileStride + whole + lane);
          sum[r][c] = fma(ws, xs.part[part], sum[r][c]);
        }
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t c = 0; c < kTileN; ++c) {
        store_f32(sums + (r * kTileN + c) * kVirtualLanes + lane, sum[r][c]);
      }
    }
  }
}

void multiply_tile_of(std::size_t rows, const float* x, std::size_t x_stride, const float* tile,
                      std::size_t count, bool first, float* sums) {
  static_assert(kTileM <= 4);
  const WidenedTile w{tile};
  if (rows == kTileM) return multiply_tile<kTileM>(x, x_stride, w, tile, count, first, sums);
  if (rows == 1) return multiply_tile<1>(x, x_stride, w, tile, count, first, sums);
  if (rows == 2) return multiply_tile<2>(x, x_stride, w, tile, count, first, sums);
  return multiply_tile<3>(x, x_stride, w, tile, count, first, sums);
}

// A block of x times a block of w, and where its partial sums are.
struct Block {
  std::size_t token;  // first of `tokens` <= kBlockM
  std::size_t tokens;
  std::size_t k;  // first of `depth` <= kBlockK
  std::size_t depth;
  float* tile;     // [kTileN, kTileStride]
  float* sums;     // [kBlockM, kTileN, 16] for each tile of channels
  bool keep_sums;  // k does not fit one block
};

// Adds up a tile's lanes and writes them to y: `rows` tokens from i on, `channels` from j on.
inline void write_totals(const PanelProduct& args, std::size_t i, std::size_t rows, std::size_t j,
                         std::size_t channels, const float* sums) {
  float totals[kTileM * kTileN + Vec::kLanes];
  reduce_add16_each(sums, rows * kTileN, totals);
  for (std::size_t r = 0; r < rows; ++r) {
    float* y = args.y + (i + r) * args.y_stride + j;
    const float* row = totals + r * kTileN;
    if (channels == kTileN) {
      __builtin_memcpy(y, row, kTileN * sizeof(float));
    } else {
      for (std::size_t c = 0; c < channels; ++c) y[c] = row[c];
    }
  }
}

// Asks for one of `shares` equal parts of the rows of the tile from channel j on.
template <typename Rows>
void prefetch_share(const PanelProduct& args, const Rows& w, const Block& block, std::size_t j,
                    std::size_t share, std::size_t shares) {
  if (j >= args.n) return;
  const std::size_t total = at_most(args.n - j, kTileN) * block.depth;
  const std::size_t size = (total + shares - 1) / shares;
  const std::size_t end = at_most(total, (share + 1) * size);
  for (std::size_t at = share * size; at < end;) {
    const std::size_t k = at % block.depth;
    const std::size_t count = at_most(end - at, block.depth - k);
    w.prefetch_row(j + at / block.depth, block.k + k, count);
    at += count;
  }
}

// A block times kTileN or fewer channels from j on.
template <typename Rows>
void multiply_channels(const PanelProduct& args, const Rows& w, const Block& block, std::size_t j) {
  const std::size_t channels = at_most(args.n - j, kTileN);
  // With the first tokens the tile is filled while it is multiplied: what a row's bytes take to
  // arrive costs nothing then.
  const bool fills = Rows::kLoadsLanes && channels == kTileN && block.tokens >= kTileM;
  if (!fills) w.widen(j, channels, block.k, block.depth, block.tile);
  const bool last = block.k + block.depth == args.k;
  float* kept = block.sums + j % kBlockN * kBlockM * kVirtualLanes;
  const std::size_t shares = (block.tokens + kTileM - 1) / kTileM;
  for (std::size_t i = 0; i < block.tokens; i += kTileM) {
    const std::size_t rows = at_most(block.tokens - i, kTileM);
    const float* x = args.x + (block.token + i) * args.x_stride + block.k;
    // Sums that need not wait stay in L1.
    float* sums = block.keep_sums ? kept + i * kTileN * kVirtualLanes : block.sums;
    // The next tile's rows arrive while this one is multiplied: a little with each product, because
    // a processor has room for some ten lines on their way and waits with an eleventh.
    prefetch_share(args, w, block, j + kTileN, i / kTileM, shares);
    const bool first = block.k == 0;
    if (fills && i == 0) {
      if constexpr (Rows::kLoadsLanes) {
        const auto source = w.filling(j, block.k, block.depth, block.tile);
        multiply_tile<kTileM>(x, args.x_stride, source, block.tile, block.depth, first, sums);
      }
    } else {
      multiply_tile_of(rows, x, args.x_stride, block.tile, block.depth, first, sums);
    }
    if (last) write_totals(args, block.token + i, rows, j, channels, sums);
  }
}

//   w.widen(j, channels, k, count, tile)
//             tile[c * kTileStride + i] = w[j + c, k + i] for i < count, zeros up to a multiple
//             of 16; k is a multiple of 16, and count too unless the row ends
//   Rows::kLoadsLanes: there is also
//   w.filling(j, k, count, tile)
//             a source for multiply_tile() that stores in the tile what it loads of kTileN
//             channels; what follows the whole lanes is in the tile already
//   w.prefetch_row(j, k, count)
//             asks for the bytes of w[j, k..k + count)
template <typename Rows>
void multiply_panels(const PanelProduct& args, const Rows& w) {
  if (args.m == 0) return;
  Block block{};
  const std::uintptr_t misalignment = reinterpret_cast<std::uintptr_t>(args.scratch) / 4 % 16;
  block.tile = args.scratch + (16 - misalignment) % 16;
  block.sums = block.tile + kTileN * kTileStride;
  // Channels that the last tile lacks are multiplied too, and not written: give them numbers.
  for (std::size_t i = 0; i < kTileN * kTileStride; i += Vec::kLanes) {
    store_f32(block.tile + i, vec_zero());
  }
  // Blocks of equal depth, whole lanes.
  const std::size_t blocks = (args.k + kBlockK - 1) / kBlockK;
  const std::size_t depth =
      ((args.k + blocks - 1) / blocks + kVirtualLanes - 1) / kVirtualLanes * kVirtualLanes;
  block.keep_sums = depth < args.k;
  // Blocks of as many tokens each as whole tiles allow: few tokens use a tile of w less often.
  const std::size_t token_blocks = (args.m + kBlockM - 1) / kBlockM;
  const std::size_t tokens =
      ((args.m + token_blocks - 1) / token_blocks + kTileM - 1) / kTileM * kTileM;
  for (block.token = 0; block.token < args.m; block.token += tokens) {
    block.tokens = at_most(args.m - block.token, tokens);
    for (std::size_t j0 = 0; j0 < args.n; j0 += kBlockN) {
      const std::size_t j_end = at_most(args.n, j0 + kBlockN);
      for (block.k = 0; block.k < args.k; block.k += depth) {
        block.depth = at_most(args.k - block.k, depth);
        for (std::size_t j = j0; j < j_end; j += kTileN) multiply_channels(args, w, block, j);
      }
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
