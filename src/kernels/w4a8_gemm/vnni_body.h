// The W4A8 product with VNNI, written once over Lanes: nibbles straight from memory for few tokens,
// else unpacked once for many. Included by each variant after its lanes_<isa>.h.

#pragma once

#include <immintrin.h>

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
constexpr std::size_t kDirectPrefetchBytes = 3072;

// The zero points of a group's channels in register r of a block, biased by 8.
inline Lanes load_zeros(const PackedWeights& w, std::size_t at, std::size_t r) {
  if (w.zeros == nullptr) return broadcast_lanes(kBias4);
  const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(w.zeros + at * 8));
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
  alignas(64) std::int32_t carry[kTokenBlock * kTileRows];
};

// Unpacks the slabs of `k` of one block, the b-th of the panel, to bytes code - zero + kOffset.
template <bool kZeroPoint, std::int32_t kOffset, typename PanelScratch>
void unpack_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::size_t b,
                  PanelScratch& scratch) {
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const std::uint8_t* codes = w.codes + (block * slab_count(w.cols) + k.slab_begin) * kSlabBytes4;
  std::uint8_t* out = scratch.weights[b];
  // The same slabs of the panel after this one, so that memory works while the tiles multiply.
  const std::size_t next_panel = kTileBlocks * slab_count(w.cols) * kSlabBytes4;
  const Lanes low_nibbles = broadcast_bytes(0x0F);
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t at = block * groups + k.group_begin + g;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    for (std::size_t r = 0; r < kBlockRegisters; ++r) {
      const std::size_t slot = g * kTileRows + b * kBlockRows + r * Lanes::kCount;
      const std::size_t byte = r * Lanes::kCount * 4;
      store_floats(scratch.scales + slot,
                   load_scales(w.scales, w.scale_type, at * kBlockRows + r * Lanes::kCount));
      // kOffset - zero in each of a channel's 4 bytes; 15 - zero needs no borrow from the next one.
      const Lanes lift = add_bytes(
          (broadcast_lanes(kLargestZero) - load_zeros(w, at, r)) * broadcast_lanes(0x01010101),
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
    codes += slabs * kSlabBytes4;
    out += slabs * kSlabBytes8;
  }
}

inline void multiply_unpacked(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  const auto unpack = args.x.zero_points != nullptr ? unpack_block<true, kPanelOffset, Scratch>
                                                    : unpack_block<false, kPanelOffset, Scratch>;
  for_each_panel(
      args, k_blocks, kTokenBlock, kTileBlocks,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        negative_sums(args.x, token, tokens, k_blocks.slabs(), k, kPanelOffset, scratch.start);
      },
      [&](std::size_t token, std::size_t tokens, std::size_t block, const KBlock& k) {
        const Panel panel =
            panel_at(args, block, k, scratch.weights[0], sizeof(scratch.weights[0]), scratch);
        const std::size_t blocks = ceil_div(panel.channels, kBlockRows);
        for (std::size_t b = 0; b < blocks; ++b) unpack(w, block + b, k, b, scratch);
        multiply_panel(args, panel, block * kBlockRows, token, tokens, scratch.start,
                       scratch.carry);
      });
}

// kTokens tokens against kBlocks blocks that lie `step` apart, the nibbles multiplied as they are
// stored. The high nibbles stay where they are, which makes their sum 16 times too large: u <= 240
// still fits the unsigned operand, and the sum is shifted back once per group, exactly.
template <std::size_t kTokens, std::size_t kBlocks, bool kZeroPoint>
void multiply_direct(const IntegerGemmArgs& args, std::size_t block, std::size_t step,
                     std::size_t token) {
  const PackedWeights& w = args.w;
  const std::size_t slabs_of_row = slab_count(w.cols);
  const std::size_t group_slabs = KBlocks(w.cols, w.group_width, slabs_of_row).at(0).group_slabs;
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  // Register r holds channels of the block number r / kBlockRegisters of them.
  constexpr std::size_t kRegisters = kBlocks * kBlockRegisters;
  const Lanes low_nibbles = broadcast_bytes(0x0F);
  const Lanes high_nibbles = broadcast_bytes(0xF0);
  const Lanes ones = broadcast_bytes(1);
  const std::size_t step_bytes = step * slabs_of_row * kSlabBytes4;
  const std::uint8_t* codes = w.codes + block * slabs_of_row * kSlabBytes4;
  const std::int8_t* x = args.x.codes + token * args.x.stride;
  const std::int16_t* pairs = args.x.pair_sums + token * slabs_of_row * 2;
  FloatLanes y[kTokens][kRegisters];
  for (auto& row : y) {
    for (FloatLanes& lanes : row) lanes = zero_floats();
  }
  std::size_t slabs_left = slabs_of_row;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t slabs = slabs_left < group_slabs ? slabs_left : group_slabs;
    slabs_left -= slabs;
    Lanes low_sum[kTokens][kRegisters];
    Lanes high_sum[kTokens][kRegisters];
    Lanes x_sum[kTokens];
    Lanes low_weights[kRegisters];
    Lanes high_weights[kRegisters];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRegisters; ++r) {
      low_weights[r] = high_weights[r] = zero_lanes();
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) low_sum[t][r] = high_sum[t][r] = zero_lanes();
    }
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kTokens; ++t) x_sum[t] = zero_lanes();
    for (std::size_t slab = 0; slab < slabs; ++slab) {
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) {
        std::int32_t pair;
        __builtin_memcpy(&pair, pairs + t * slabs_of_row * 2, sizeof(pair));
        x_sum[t] = dot_words(x_sum[t], broadcast_lanes(pair), broadcast_lanes(0x00010001));
      }
      // Two lines of a block after each other, as memory likes them best.
#pragma GCC unroll 2
      for (std::size_t pair = 0; pair < 4; pair += 2) {
#pragma GCC unroll 4
        for (std::size_t r = 0; r < kRegisters; ++r) {
          const std::uint8_t* from = codes + r / kBlockRegisters * step_bytes + pair * kQuadBytes +
                                     r % kBlockRegisters * Lanes::kCount * 4;
          if (r % kBlockRegisters == 0) {
            const auto* ahead = reinterpret_cast<const char*>(from + kDirectPrefetchBytes);
            _mm_prefetch(ahead, _MM_HINT_T0);
            _mm_prefetch(ahead + kQuadBytes, _MM_HINT_T0);
          }
#pragma GCC unroll 2
          for (std::size_t j = 0; j < 2; ++j) {
            const Lanes packed = load_lanes(from + j * kQuadBytes);
            const Lanes low = packed & low_nibbles;
            const Lanes high = packed & high_nibbles;
#pragma GCC unroll 4
            for (std::size_t t = 0; t < kTokens; ++t) {
              const std::int8_t* quad = x + t * args.x.stride + (pair + j) * 4;
              low_sum[t][r] = dot_bytes(low_sum[t][r], low, broadcast_quad(quad));
              high_sum[t][r] = dot_bytes(high_sum[t][r], high, broadcast_quad(quad + 16));
            }
            if constexpr (kZeroPoint) {
              low_weights[r] = dot_bytes(low_weights[r], low, ones);
              high_weights[r] = dot_bytes(high_weights[r], high, ones);
            }
          }
        }
      }
      codes += kSlabBytes4;
      x += kSlabCols;
      pairs += 2;
    }
    const Lanes inputs = broadcast_lanes(static_cast<std::int32_t>(slabs * kSlabCols));
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRegisters; ++r) {
      const std::size_t at = (block + r / kBlockRegisters * step) * groups + g;
      const std::size_t part = r % kBlockRegisters;
      if (part == 0) {
        const auto* next = static_cast<const std::uint8_t*>(w.scales) + (at * kBlockRows * 2 + 512);
        _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
      }
      const Lanes zeros = load_zeros(w, at, part);
      const FloatLanes scale =
          load_scales(w.scales, w.scale_type, at * kBlockRows + part * Lanes::kCount);
      // sum of code - zero, for activations with a zero point
      const Lanes weight_sum =
          low_weights[r] + shift_right_signed<4>(high_weights[r]) - zeros * inputs;
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) {
        Lanes sum = low_sum[t][r] + shift_right_signed<4>(high_sum[t][r]) - zeros * x_sum[t];
        if constexpr (kZeroPoint) {
          sum = sum - weight_sum * broadcast_lanes(args.x.zero_points[token + t]);
        }
        y[t][r] = add_scaled(sum, scale, y[t][r]);
      }
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

// The same, block after block where the sums of all would not fit the registers.
template <std::size_t kTokens, std::size_t kBlocks, bool kZeroPoint>
void multiply_direct_that_fits(const IntegerGemmArgs& args, std::size_t block, std::size_t step,
                               std::size_t token) {
  if constexpr (kTokens * kBlocks * kBlockRegisters <= kDirectRegisters) {
    multiply_direct<kTokens, kBlocks, kZeroPoint>(args, block, step, token);
  } else {
    for (std::size_t b = 0; b < kBlocks; ++b) {
      multiply_direct<kTokens, 1, kZeroPoint>(args, block + b * step, 0, token);
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

template <bool kZeroPoint>
void multiply_few(const IntegerGemmArgs& args) {
  // The first half of the blocks beside the second: each is one stream from its begin to its end.
  const std::size_t half = (args.block_end - args.block_begin) / 2;
  for (std::size_t i = 0; i < half; ++i) {
    multiply_blocks<2, kZeroPoint>(args, args.block_begin + i, half);
  }
  if (args.block_begin + 2 * half < args.block_end) {
    multiply_blocks<1, kZeroPoint>(args, args.block_begin + 2 * half, 0);
  }
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
