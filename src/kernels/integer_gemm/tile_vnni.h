// The register tile of the VNNI products: unsigned weight bytes times signed activations. Written
// once over the Lanes of lanes_<isa>.h; include one of them before it.
//
// Lanes are output channels: the 4 inputs of a quad for Lanes::kCount channels against 4
// activation bytes of a token, broadcast. The weight bytes are u = code - zero + offset with a
// constant offset, or biased codes with a zero point per channel; the sum of
// (code - zero) * x is then sum u * x - offset * sum x, and the second term, which depends on
// token and group only, is where the sum starts from.

#pragma once

#include "kernels/integer_gemm/chunk_x86.h"
#include "kernels/integer_gemm/k_blocks.h"
#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// A row of a tile is two registers of channels: two blocks of 16, or the halves of one.
constexpr std::size_t kTileRegisters = 2;
constexpr std::size_t kTileRows = kTileRegisters * Lanes::kCount;
constexpr std::size_t kTileBlocks = kTileRows / kBlockRows;

// A tile of so few tokens waits for memory, where its weights come from. It asks for them so many
// bytes ahead, two lines of a stream at a time, and has separate sums for the two, since a chain of
// sums holds loads up.
constexpr std::size_t kMemoryBoundTokens = 2;
constexpr std::size_t kPrefetchBytes = 512;

// What the tiles of one panel (kTileRows channels, one block of slabs) share.
struct Panel {
  const std::uint8_t* weights;  // quads of the panel's first channels
  std::size_t weight_stride;    // bytes from one register's channels to the next one's
  const std::int32_t* zeros;    // [groups, kTileRows], biased; null: a constant offset
  const std::int32_t*
      weight_sums;       // [groups, kTileRows], sum of code - zero; read where x has zero points
  const float* scales;   // [groups, kTileRows]
  const float* bias;     // [channels] or null
  std::size_t channels;  // of the tile's channels that exist
  KBlock k;
  bool first;  // no group was finished before this block
  bool last;   // this block finishes the last group
};

// One tile's tokens.
struct TileTokens {
  const std::int8_t* x;  // codes at the panel's first slab
  std::size_t x_stride;
  const std::int32_t*
      start;  // [tokens, start_stride]: -offset * sum x, or -sum x where panel.zeros is given
  std::size_t start_stride;
  const float* scales;
  const std::int32_t* zero_points;  // or null
  std::int32_t* carry;              // [tokens, kTileRows] sums of an unfinished group
  float* results;                   // [tokens, kTileRows], of the panels before
  float* y;
  std::size_t y_stride;
  bool streamed;  // whole rows of y are written past the caches
};

// Results of a tile while it runs. In memory on purpose: the registers are for integer sums.
template <std::size_t kTokens>
struct alignas(64) TileResults {
  float y[kTokens][kTileRows];
};

// Keeps results that belong in memory from being cached in registers.
inline void forget_registers() {
  asm volatile("" ::: "memory");
}

inline Lanes broadcast_quad(const std::int8_t* x) {
  std::int32_t quad;
  __builtin_memcpy(&quad, x, sizeof(quad));
  return broadcast_lanes(quad);
}

// y = results * scale + bias, the channels that exist.
inline void finish_row(const Panel& panel, const TileTokens& tokens, std::size_t t,
                       const float* results) {
  float finished[kTileRows];
  for (std::size_t r = 0; r < kTileRegisters; ++r) {
    const std::size_t at = r * Lanes::kCount;
    store_floats(finished + at, load_floats(results + at) * broadcast_float(tokens.scales[t]));
  }
  for (std::size_t c = 0; panel.bias != nullptr && c < panel.channels; ++c) {
    finished[c] += panel.bias[c];
  }
  float* y = tokens.y + t * tokens.y_stride;
  if (panel.channels < kTileRows) {
    for (std::size_t c = 0; c < panel.channels; ++c) y[c] = finished[c];
    return;
  }
  for (std::size_t at = 0; at < kTileRows; at += Lanes::kCount) {
    if (tokens.streamed) {
      stream_floats(y + at, load_floats(finished + at));
    } else {
      store_floats(y + at, load_floats(finished + at));
    }
  }
}

// Keeps the results of token t for the next panel, or finishes them.
inline void keep_results(const Panel& panel, const TileTokens& tokens, std::size_t t,
                         const float* results) {
  if (panel.last) return finish_row(panel, tokens, t, results);
  for (std::size_t at = 0; at < kTileRows; at += Lanes::kCount) {
    store_floats(tokens.results + t * kTileRows + at, load_floats(results + at));
  }
}

template <std::size_t kTokens>
void load_results(const Panel& panel, const TileTokens& tokens, TileResults<kTokens>& results) {
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t at = 0; at < kTileRows; at += Lanes::kCount) {
      store_floats(&results.y[t][at],
                   panel.first ? zero_floats() : load_floats(tokens.results + t * kTileRows + at));
    }
  }
}

// What the sums of a group start from. kPlain: there are neither panel.zeros nor zero points.
template <bool kPlain, std::size_t kTokens>
inline __attribute__((always_inline)) void start_sums(const Panel& panel, const TileTokens& tokens,
                                                      std::size_t group,
                                                      Lanes (&sum)[kTokens][kTileRegisters]) {
#pragma GCC unroll 16
  for (std::size_t t = 0; t < kTokens; ++t) {
    const Lanes start = broadcast_lanes(tokens.start[t * tokens.start_stride + group]);
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kTileRegisters; ++r) {
      const std::size_t at = group * kTileRows + r * Lanes::kCount;
      sum[t][r] = start;
      if constexpr (kPlain) continue;
      if (panel.zeros != nullptr) sum[t][r] = start * load_lanes(panel.zeros + at);
      if (tokens.zero_points != nullptr) {
        sum[t][r] =
            sum[t][r] - broadcast_lanes(tokens.zero_points[t]) * load_lanes(panel.weight_sums + at);
      }
    }
  }
}

// sum += the products of one slab; w and x are its weights and activations.
template <std::size_t kTokens>
inline __attribute__((always_inline)) void add_slab(const Panel& panel, const TileTokens& tokens,
                                                    const std::uint8_t* w, const std::int8_t* x,
                                                    Lanes (&sum)[kTokens][kTileRegisters]) {
#pragma GCC unroll 8
  for (std::size_t quad = 0; quad < kSlabCols / 4; ++quad) {
    Lanes weights[kTileRegisters];
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kTileRegisters; ++r) {
      weights[r] = load_lanes(w + quad * kQuadBytes + r * panel.weight_stride);
    }
#pragma GCC unroll 16
    for (std::size_t t = 0; t < kTokens; ++t) {
      const Lanes codes = broadcast_quad(x + quad * 4 + t * tokens.x_stride);
#pragma GCC unroll 2
      for (std::size_t r = 0; r < kTileRegisters; ++r) {
        sum[t][r] = dot_bytes(sum[t][r], weights[r], codes);
        keep_in_order(sum[t][r]);
      }
    }
  }
}

// The same where weights come from memory: even quads into sum, odd ones into odd_sum.
template <std::size_t kTokens>
inline __attribute__((always_inline)) void add_slab_from_memory(
    const Panel& panel, const TileTokens& tokens, const std::uint8_t* w, const std::int8_t* x,
    Lanes (&sum)[kTokens][kTileRegisters], Lanes (&odd_sum)[kTokens][kTileRegisters]) {
#pragma GCC unroll 4
  for (std::size_t quad = 0; quad < kSlabCols / 4; quad += 2) {
    Lanes even[kTokens];
    Lanes odd[kTokens];
#pragma GCC unroll 2
    for (std::size_t t = 0; t < kTokens; ++t) {
      even[t] = broadcast_quad(x + quad * 4 + t * tokens.x_stride);
      odd[t] = broadcast_quad(x + quad * 4 + 4 + t * tokens.x_stride);
    }
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kTileRegisters; ++r) {
      const std::uint8_t* from = w + quad * kQuadBytes + r * panel.weight_stride;
      _mm_prefetch(reinterpret_cast<const char*>(from + kPrefetchBytes), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(from + kPrefetchBytes + kQuadBytes), _MM_HINT_T0);
#pragma GCC unroll 2
      for (std::size_t t = 0; t < kTokens; ++t) {
        sum[t][r] = dot_bytes(sum[t][r], load_lanes(from), even[t]);
        keep_in_order(sum[t][r]);
        odd_sum[t][r] = dot_bytes(odd_sum[t][r], load_lanes(from + kQuadBytes), odd[t]);
        keep_in_order(odd_sum[t][r]);
      }
    }
  }
}

// kOneSlab: every group is one slab of this panel. Groups then end so often that it pays to have
// fewer tokens and keep their results in registers, where there are enough of them.
template <std::size_t kTokens, bool kPlain, bool kOneSlab>
__attribute__((noinline)) void multiply_tile(const Panel& panel, const TileTokens& tokens) {
  constexpr bool kResident = kOneSlab && kOneSlabResident;
  constexpr bool kMemoryBound = kTokens <= kMemoryBoundTokens;
  TileResults<kTokens> results;
  load_results(panel, tokens, results);
  FloatLanes resident[kResident ? kTokens : 1][kTileRegisters];
  if constexpr (kResident) {
#pragma GCC unroll 16
    for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (std::size_t r = 0; r < kTileRegisters; ++r) {
        resident[t][r] = load_floats(&results.y[t][r * Lanes::kCount]);
      }
    }
  }
  const std::uint8_t* w = panel.weights;
  const std::int8_t* x = tokens.x;
  std::size_t slabs_left = panel.k.slabs;
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    Lanes sum[kTokens][kTileRegisters];
    start_sums<kPlain>(panel, tokens, g, sum);
    Lanes odd_sum[kTokens][kTileRegisters];
    if constexpr (kMemoryBound) {
      for (auto& row : odd_sum) {
        for (Lanes& lanes : row) lanes = zero_lanes();
      }
    }
    std::size_t slabs = 1;
    if constexpr (!kOneSlab) {
      slabs = slabs_left < panel.k.group_slabs ? slabs_left : panel.k.group_slabs;
      slabs_left -= slabs;
    }
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      if constexpr (kMemoryBound) {
        add_slab_from_memory(panel, tokens, w, x, sum, odd_sum);
      } else {
        add_slab(panel, tokens, w, x, sum);
      }
      w += kSlabBytes8;
      x += kSlabCols;
    }
    if constexpr (kMemoryBound) {
      for (std::size_t t = 0; t < kTokens; ++t) {
        for (std::size_t r = 0; r < kTileRegisters; ++r) sum[t][r] = sum[t][r] + odd_sum[t][r];
      }
    }
    if (!kOneSlab && (panel.k.continues || panel.k.unfinished)) {
#pragma GCC unroll 16
      for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (std::size_t r = 0; r < kTileRegisters; ++r) {
          std::int32_t* carry = tokens.carry + t * kTileRows + r * Lanes::kCount;
          if (panel.k.continues) sum[t][r] = sum[t][r] + load_lanes(carry);
          if (panel.k.unfinished) store_lanes(carry, sum[t][r]);
        }
      }
      if (panel.k.unfinished) return;
    }
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kTileRegisters; ++r) {
      const FloatLanes scale = load_floats(panel.scales + g * kTileRows + r * Lanes::kCount);
#pragma GCC unroll 16
      for (std::size_t t = 0; t < kTokens; ++t) {
        if constexpr (kResident) {
          resident[t][r] = add_scaled(sum[t][r], scale, resident[t][r]);
        } else {
          float* y = &results.y[t][r * Lanes::kCount];
          store_floats(y, add_scaled(sum[t][r], scale, load_floats(y)));
        }
      }
    }
    if constexpr (!kResident) forget_registers();
  }
#pragma GCC unroll 16
  for (std::size_t t = 0; t < kTokens; ++t) {
    if constexpr (kResident) {
#pragma GCC unroll 2
      for (std::size_t r = 0; r < kTileRegisters; ++r) {
        store_floats(&results.y[t][r * Lanes::kCount], resident[t][r]);
      }
    }
    keep_results(panel, tokens, t, results.y[t]);
  }
}

using MultiplyTileFn = void (*)(const Panel& panel, const TileTokens& tokens);

// kTiles<kPlain, kOneSlab>.of[n - 1] multiplies n tokens.
template <bool kPlain, bool kOneSlab, std::size_t kTokens>
struct Tiles : Tiles<kPlain, kOneSlab, kTokens - 1> {
  constexpr Tiles() { this->of[kTokens - 1] = multiply_tile<kTokens, kPlain, kOneSlab>; }
};
template <bool kPlain, bool kOneSlab>
struct Tiles<kPlain, kOneSlab, 0> {
  MultiplyTileFn of[kTileTokens] = {};
};
template <bool kPlain, bool kOneSlab>
constexpr Tiles<kPlain, kOneSlab, kOneSlab ? kOneSlabTokens : kTileTokens> kTiles;

// out [tokens, groups of the block]: -offset * sum over the group's slabs of the codes.
inline void negative_sums(const QuantizedActivations& x, std::size_t token, std::size_t tokens,
                          std::size_t slabs_of_row, const KBlock& k, std::int32_t offset,
                          std::int32_t* out) {
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::int16_t* pairs = x.pair_sums + ((token + t) * slabs_of_row + k.slab_begin) * 2;
    std::int32_t* row = out + t * k.groups;
    std::size_t slab = 0;
    if (k.group_slabs == 1) {
      const Lanes factor = broadcast_lanes(-offset * 0x10000 + (-offset & 0xFFFF));
      for (; slab + Lanes::kCount <= k.slabs; slab += Lanes::kCount) {
        store_lanes(row + slab, dot_words(zero_lanes(), load_lanes(pairs + slab * 2), factor));
      }
    }
    for (std::size_t g = slab; g < k.groups; ++g) {
      const std::size_t begin = g * k.group_slabs;
      const std::size_t end = begin + k.group_slabs < k.slabs ? begin + k.group_slabs : k.slabs;
      std::int32_t sum = 0;
      for (std::size_t s = begin; s < end; ++s) sum += pairs[s * 2] + pairs[s * 2 + 1];
      row[g] = -offset * sum;
    }
  }
}

// Every token of [token, token + tokens) against one panel, in tiles of nearly equal size.
//   block  the panel's first, the slot-th of its chunk
//   start  [tokens, groups]
inline void multiply_panel(const IntegerGemmArgs& args, const Panel& panel, std::size_t token,
                           std::size_t tokens, std::size_t block, std::size_t slot,
                           const std::int32_t* start, ChunkScratch& chunk) {
  const bool plain = panel.zeros == nullptr && args.x.zero_points == nullptr;
  const bool one_slab = panel.k.group_slabs == 1 && !panel.k.continues && !panel.k.unfinished;
  const MultiplyTileFn* multiply = plain ? kTiles<true, false>.of : kTiles<false, false>.of;
  if (one_slab) multiply = plain ? kTiles<true, true>.of : kTiles<false, true>.of;
  const std::size_t tiles = ceil_div(tokens, one_slab ? kOneSlabTokens : kTileTokens);
  const std::size_t first = slot * kBlockRows * kTokenBlock;
  float* y = args.y + token * args.y_stride + block * kBlockRows;
  const bool streamed = results_are_streamed(args, y);
  std::size_t done = 0;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t count = (tokens - done) / (tiles - i);
    const std::size_t m = token + done;
    multiply[count - 1](
        panel, {.x = args.x.codes + m * args.x.stride + panel.k.slab_begin * kSlabCols,
                .x_stride = args.x.stride,
                .start = start + done * panel.k.groups,
                .start_stride = panel.k.groups,
                .scales = args.x.scales + m,
                .zero_points = args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
                .carry = chunk.carry + first + done * kTileRows,
                .results = chunk.results + first + done * kTileRows,
                .y = y + done * args.y_stride,
                .y_stride = args.y_stride,
                .streamed = streamed});
    done += count;
  }
}

// How many channels of the kTileRows from `block` on exist.
inline std::size_t channels_from(const PackedWeights& w, std::size_t block, std::size_t block_end) {
  const std::size_t end = block_end * kBlockRows < w.rows ? block_end * kBlockRows : w.rows;
  const std::size_t rest = end - block * kBlockRows;
  return rest < kTileRows ? rest : kTileRows;
}

// The panel of `block` and, where a tile has two, the block after it.
//   weights      the first block's bytes at the panel's first slab
//   block_bytes  from there to the second block's
//   scratch      weight_sums and scales of the panel
// zeros are null.
template <typename Scratch>
Panel panel_at(const IntegerGemmArgs& args, std::size_t block, const KBlock& k,
               const std::uint8_t* weights, std::size_t block_bytes, const Scratch& scratch) {
  const std::size_t channels = channels_from(args.w, block, args.block_end);
  // A block that does not exist is multiplied as the one before it, for nothing.
  const std::size_t second = channels <= kBlockRows ? 0 : block_bytes;
  return {.weights = weights,
          .weight_stride = kTileBlocks == 1 ? kQuadBytes / 2 : second,
          .zeros = nullptr,
          .weight_sums = scratch.weight_sums,
          .scales = scratch.scales,
          .bias = args.bias == nullptr ? nullptr : args.bias + block * kBlockRows,
          .channels = channels,
          .k = k,
          .first = k.group_begin == 0,
          .last = k.slab_begin + k.slabs == slab_count(args.w.cols)};
}

}  // namespace
}  // namespace fptq::kernels
