// The W4A8 product with VNNI, written once over Lanes: nibbles straight from memory for few tokens,
// else unpacked once for many. Included by each variant after its lanes_<isa>.h.

#pragma once

#include <immintrin.h>

#include "kernels/integer_gemm/records.h"
#include "kernels/integer_gemm/tile_vnni.h"
#include "kernels/w4a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Registers that hold the channels of a block.
constexpr std::size_t kBlockRegisters = kBlockRows / Lanes::kCount;
// Slabs of a panel: 512 inputs (1024 where a panel is one block), 16 KiB unpacked.
constexpr std::size_t kPanelSlabs = 64 / kTileBlocks;
// The largest zero point, biased: code - zero + 15 is in [0, 30], whatever the zero point.
constexpr std::int32_t kLargestZero = 15;
constexpr std::int32_t kPanelOffset = kLargestZero;
// Up to so many tokens the nibbles are multiplied as they are stored.
constexpr std::size_t kDirectTokens = 3 * kDirectTile;
// They come from memory then, a stream per block, each asked for so far ahead. Four streams are
// better than two, as long as the sums of four blocks fit the registers.
constexpr std::size_t kFourStreamTokens = 2;
constexpr std::size_t kDirectPrefetchBytes = 2304;

// The zero points of a group's channels in register r of a block, biased by 8.
inline Lanes load_zeros(const std::uint8_t* zero_nibbles, std::size_t r) {
  const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(zero_nibbles));
  const __m128i both =
      _mm_and_si128(_mm_unpacklo_epi64(packed, _mm_srli_epi16(packed, 4)), _mm_set1_epi8(0x0F));
  alignas(16) std::uint8_t zeros[kBlockRows];
  _mm_store_si128(reinterpret_cast<__m128i*>(zeros), both);
  return widen_bytes(zeros + r * Lanes::kCount);
}

// One panel, unpacked.
struct Scratch {
  alignas(64) std::uint8_t weights[kTileBlocks][kPanelSlabs * kSlabBytes8];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kTileRows];
  alignas(64) float scales[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t start[kTokenBlock * kPanelSlabs];
  ChunkScratch chunk;
};

// Unpacks the slabs of `k` of one block, the b-th of the panel, to bytes code - zero + kOffset.
template <bool kZeroPoint, std::int32_t kOffset, typename PanelScratch>
void unpack_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::size_t b,
                  PanelScratch& scratch) {
  std::uint8_t* out = scratch.weights[b];
  // The same slabs of the panel after this one, so that memory works while the tiles multiply.
  const std::size_t next_panel = kTileBlocks * w.records.block_bytes;
  const Lanes low_nibbles = broadcast_bytes(0x0F);
  std::size_t slab_begin = k.slab_begin;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t group = k.group_begin + g;
    const std::uint8_t* codes = slab_codes(w, block, slab_begin);
    const std::size_t slabs_left = k.slab_begin + k.slabs - slab_begin;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slab_begin += slabs;
    for (std::size_t r = 0; r < kBlockRegisters; ++r) {
      const std::size_t slot = g * kTileRows + b * kBlockRows + r * Lanes::kCount;
      const std::size_t byte = r * Lanes::kCount * 4;
      store_floats(scratch.scales + slot,
                   load_scales(group_scales(w, block, group), w.scale_type, r * Lanes::kCount));
      // kOffset - zero in each of a channel's 4 bytes; 15 - zero needs no borrow from the next one.
      const Lanes zeros = w.zeros == nullptr ? broadcast_lanes(kBias4)
                                             : load_zeros(group_zeros(w, block, group), r);
      const Lanes lift =
          add_bytes((broadcast_lanes(kLargestZero) - zeros) * broadcast_lanes(0x01010101),
                    broadcast_bytes(kOffset - kLargestZero));
      Lanes sum = broadcast_lanes(-kOffset * static_cast<std::int32_t>(slabs * kSlabCols));
      for (std::size_t slab = 0; slab < slabs; ++slab) {
        const std::uint8_t* from = codes + slab * kSlabBytes4 + byte;
        std::uint8_t* to = out + slab * kSlabBytes8 + byte;
        for (std::size_t j = 0; j < 4; ++j) {
          const Lanes packed = load_lanes(from + j * kQuadBytes);
          _mm_prefetch(reinterpret_cast<const char*>(from + j * kQuadBytes + next_panel),
                       _MM_HINT_T1);
          const Lanes low = add_bytes(packed & low_nibbles, lift);
          const Lanes high = add_bytes(shift_right_words<4>(packed) & low_nibbles, lift);
          store_lanes(to + j * kQuadBytes, low);
          store_lanes(to + (j + 4) * kQuadBytes, high);
          if constexpr (kZeroPoint) {
            sum = dot_bytes(sum, broadcast_bytes(1), low);
            sum = dot_bytes(sum, broadcast_bytes(1), high);
          }
        }
      }
      if constexpr (kZeroPoint) store_lanes(scratch.weight_sums + slot, sum);
    }
    out += slabs * kSlabBytes8;
  }
}

inline void multiply_unpacked(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  const auto unpack = args.x.zero_points != nullptr ? unpack_block<true, kPanelOffset, Scratch>
                                                    : unpack_block<false, kPanelOffset, Scratch>;
  for_each_panel_of_chunks(
      args, k_blocks, kTokenBlock, kChunkBlocks, kTileBlocks,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        negative_sums(args.x, token, tokens, k_blocks.slabs(), k, kPanelOffset, scratch.start);
      },
      [&](std::size_t token, std::size_t tokens, std::size_t block, std::size_t slot,
          const KBlock& k) {
        const Panel panel =
            panel_at(args, block, k, scratch.weights[0], sizeof(scratch.weights[0]), scratch);
        const std::size_t blocks = ceil_div(panel.channels, kBlockRows);
        for (std::size_t b = 0; b < blocks; ++b) unpack(w, block + b, k, b, scratch);
        multiply_panel(args, panel, token, tokens, block, slot, scratch.start, scratch.chunk);
      });
  finish_streaming();
}

// Asks for the lines of a stream that follow `from` at a distance. Always inline: gcc 12 thinks
// that a function that only does this does nothing, and removes calls of it.
inline __attribute__((always_inline)) void prefetch_ahead(const std::uint8_t* from,
                                                          std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(from + kDirectPrefetchBytes + i), _MM_HINT_T0);
  }
}

// Sums of one group of kRegisters registers of channels times kTokens tokens. The high nibbles
// stay where they are, which makes their sum 16 times too large: u <= 240 still fits the unsigned
// operand, and the sum is shifted back once per group, exactly.
template <std::size_t kTokens, std::size_t kRegisters>
struct GroupSums {
  Lanes low[kTokens][kRegisters];
  Lanes high[kTokens][kRegisters];
  std::int32_t x[kTokens];
  // Of the weights, for activations with a zero point.
  Lanes low_weights[kRegisters];
  Lanes high_weights[kRegisters];
};

template <std::size_t kTokens, std::size_t kRegisters>
inline __attribute__((always_inline)) void clear(GroupSums<kTokens, kRegisters>& sums) {
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRegisters; ++r) {
    sums.low_weights[r] = sums.high_weights[r] = zero_lanes();
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kTokens; ++t) sums.low[t][r] = sums.high[t][r] = zero_lanes();
  }
#pragma GCC unroll 4
  for (std::size_t t = 0; t < kTokens; ++t) sums.x[t] = 0;
}

// Adds a slab, `codes` in the first block and stream_bytes apart in the others.
template <bool kZeroPoint, std::size_t kTokens, std::size_t kRegisters>
inline __attribute__((always_inline)) void add_nibble_slab(const std::uint8_t* codes,
                                                           std::size_t stream_bytes,
                                                           const std::int8_t* x,
                                                           std::size_t x_stride,
                                                           GroupSums<kTokens, kRegisters>& sums) {
  const Lanes low_nibbles = broadcast_bytes(0x0F);
  const Lanes high_nibbles = broadcast_bytes(0xF0);
  const Lanes ones = broadcast_bytes(1);
  // Two lines of a block after each other, as memory likes them best.
#pragma GCC unroll 2
  for (std::size_t pair = 0; pair < 4; pair += 2) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRegisters; ++r) {
      const std::uint8_t* from = codes + r / kBlockRegisters * stream_bytes + pair * kQuadBytes +
                                 r % kBlockRegisters * Lanes::kCount * 4;
      if (r % kBlockRegisters == 0) prefetch_ahead(from, 2 * kQuadBytes);
#pragma GCC unroll 2
      for (std::size_t j = 0; j < 2; ++j) {
        const Lanes packed = load_lanes(from + j * kQuadBytes);
        const Lanes low = packed & low_nibbles;
        const Lanes high = packed & high_nibbles;
#pragma GCC unroll 4
        for (std::size_t t = 0; t < kTokens; ++t) {
          const std::int8_t* quad = x + t * x_stride + (pair + j) * 4;
          sums.low[t][r] = dot_bytes(sums.low[t][r], low, broadcast_quad(quad));
          sums.high[t][r] = dot_bytes(sums.high[t][r], high, broadcast_quad(quad + 16));
          keep_in_order(sums.low[t][r]);
          keep_in_order(sums.high[t][r]);
        }
        if constexpr (kZeroPoint) {
          sums.low_weights[r] = dot_bytes(sums.low_weights[r], low, ones);
          sums.high_weights[r] = dot_bytes(sums.high_weights[r], high, ones);
        }
      }
    }
  }
}

// kTokens tokens against kBlocks blocks that lie `step` apart, the nibbles multiplied as they are
// stored.
template <std::size_t kTokens, std::size_t kBlocks, bool kZeroPoint>
void multiply_direct(const IntegerGemmArgs& args, std::size_t block, std::size_t step,
                     std::size_t token) {
  const PackedWeights& w = args.w;
  const RecordLayout& records = w.records;
  const std::size_t slabs_of_row = slab_count(w.cols);
  const std::size_t group_slabs = KBlocks(w.cols, w.group_width, slabs_of_row).at(0).group_slabs;
  // Register r holds channels of the block number r / kBlockRegisters of them.
  constexpr std::size_t kRegisters = kBlocks * kBlockRegisters;
  const std::size_t stream_bytes = step * records.block_bytes;
  const bool symmetric = w.zeros == nullptr;
  const std::size_t zeros_offset = records.groups * records.scale_bytes;
  const std::int8_t* x = args.x.codes + token * args.x.stride;
  const std::int16_t* pairs = args.x.pair_sums + token * slabs_of_row * 2;
  FloatLanes y[kTokens][kRegisters];
  for (auto& row : y) {
    for (FloatLanes& lanes : row) lanes = zero_floats();
  }
  const auto* record = static_cast<const std::uint8_t*>(w.scales) + block * records.block_bytes;
  const std::uint8_t* codes = record + records.header_bytes;
  std::size_t group = 0;  // of the record
  for (std::size_t slabs_left = slabs_of_row; slabs_left > 0;) {
    if (group == 0) {
      for (std::size_t b = 0; b < kBlocks; ++b) {
        prefetch_ahead(record + b * stream_bytes, records.header_bytes);
      }
    }
    const std::size_t slabs = slabs_left < group_slabs ? slabs_left : group_slabs;
    slabs_left -= slabs;
    GroupSums<kTokens, kRegisters> sums;
    clear(sums);
    for (std::size_t slab = 0; slab < slabs; ++slab) {
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) {
        const std::int16_t* pair = pairs + t * slabs_of_row * 2;
        sums.x[t] += pair[0] + pair[1];
      }
      add_nibble_slab<kZeroPoint>(codes, stream_bytes, x, args.x.stride, sums);
      codes += kSlabBytes4;
      x += kSlabCols;
      pairs += 2;
    }
    const Lanes inputs = broadcast_lanes(static_cast<std::int32_t>(slabs * kSlabCols));
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRegisters; ++r) {
      const std::uint8_t* header = record + r / kBlockRegisters * stream_bytes;
      const std::size_t part = r % kBlockRegisters;
      const Lanes zeros =
          symmetric ? broadcast_lanes(kBias4)
                    : load_zeros(header + zeros_offset + group * records.zero_bytes, part);
      const FloatLanes scale =
          load_scales(header + group * records.scale_bytes, w.scale_type, part * Lanes::kCount);
      // sum of code - zero, for activations with a zero point
      const Lanes weight_sum =
          sums.low_weights[r] + shift_right_signed<4>(sums.high_weights[r]) - zeros * inputs;
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) {
        Lanes sum = sums.low[t][r] + shift_right_signed<4>(sums.high[t][r]) -
                    zeros * broadcast_lanes(sums.x[t]);
        if constexpr (kZeroPoint) {
          sum = sum - weight_sum * broadcast_lanes(args.x.zero_points[token + t]);
        }
        y[t][r] = add_scaled(sum, scale, y[t][r]);
      }
    }
    if (++group == records.groups) {
      group = 0;
      record += records.record_bytes;
      codes += records.header_bytes;
    }
  }
  for (std::size_t b = 0; b < kBlocks; ++b) {
    const std::size_t channel = (block + b * step) * kBlockRows;
    const std::size_t rest = w.rows - channel;
    const std::size_t channels = rest < kBlockRows ? rest : kBlockRows;
    for (std::size_t t = 0; t < kTokens; ++t) {
      float row[kBlockRows];
      for (std::size_t r = 0; r < kBlockRegisters; ++r) {
        store_floats(row + r * Lanes::kCount,
                     y[t][b * kBlockRegisters + r] * broadcast_float(args.x.scales[token + t]));
      }
      float* out = args.y + (token + t) * args.y_stride + channel;
      for (std::size_t c = 0; c < channels; ++c) {
        out[c] = args.bias == nullptr ? row[c] : row[c] + args.bias[channel + c];
      }
    }
  }
}

using MultiplyDirectFn = void (*)(const IntegerGemmArgs& args, std::size_t block, std::size_t step,
                                  std::size_t token);

// The same, some of the blocks after the others where the sums of all would not fit the registers.
template <std::size_t kTokens, std::size_t kBlocks, bool kZeroPoint>
void multiply_direct_that_fits(const IntegerGemmArgs& args, std::size_t block, std::size_t step,
                               std::size_t token) {
  if constexpr (kTokens * kBlocks * kBlockRegisters <= kDirectRegisters) {
    multiply_direct<kTokens, kBlocks, kZeroPoint>(args, block, step, token);
  } else {
    constexpr std::size_t kFewer = kBlocks / 2;
    for (std::size_t b = 0; b < kBlocks; b += kFewer) {
      multiply_direct_that_fits<kTokens, kFewer, kZeroPoint>(args, block + b * step, step, token);
    }
  }
}

// kDirect<kDirectTile, kBlocks, kZeroPoint>.of[n - 1] multiplies n tokens.
template <std::size_t kTokens, std::size_t kBlocks, bool kZeroPoint>
struct Direct : Direct<kTokens - 1, kBlocks, kZeroPoint> {
  constexpr Direct() {
    this->of[kTokens - 1] = multiply_direct_that_fits<kTokens, kBlocks, kZeroPoint>;
  }
};
template <std::size_t kBlocks, bool kZeroPoint>
struct Direct<0, kBlocks, kZeroPoint> {
  MultiplyDirectFn of[kDirectTile] = {};
};

template <std::size_t kBlocks, bool kZeroPoint>
void multiply_blocks(const IntegerGemmArgs& args, std::size_t block, std::size_t step) {
  static constexpr Direct<kDirectTile, kBlocks, kZeroPoint> kDirect;
  const std::size_t tiles = ceil_div(args.x.rows, kDirectTile);
  std::size_t done = 0;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t count = (args.x.rows - done) / (tiles - i);
    kDirect.of[count - 1](args, block, step, done);
    done += count;
  }
}

template <std::size_t kStreams, bool kZeroPoint>
void multiply_streams(const IntegerGemmArgs& args) {
  // Each part of the blocks beside the others: a stream runs from its begin to its end.
  const std::size_t step = (args.block_end - args.block_begin) / kStreams;
  for (std::size_t i = 0; i < step; ++i) {
    multiply_blocks<kStreams, kZeroPoint>(args, args.block_begin + i, step);
  }
  for (std::size_t i = args.block_begin + kStreams * step; i < args.block_end; ++i) {
    multiply_blocks<1, kZeroPoint>(args, i, 0);
  }
}

template <bool kZeroPoint>
void multiply_few(const IntegerGemmArgs& args) {
  if (args.x.rows <= kFourStreamTokens) return multiply_streams<4, kZeroPoint>(args);
  multiply_streams<2, kZeroPoint>(args);
}

// At most kDirectTokens tokens.
inline void multiply_few(const IntegerGemmArgs& args) {
  if (args.x.zero_points != nullptr) return multiply_few<true>(args);
  return multiply_few<false>(args);
}

inline void w4a8_gemm_body(const IntegerGemmArgs& args) {
  if (args.x.rows == 0) return;
  if (args.x.rows > kDirectTokens) return multiply_unpacked(args);
  multiply_few(args);
}

}  // namespace
}  // namespace fptq::kernels
