// The register tile of the AVX-512 VNNI products: unsigned weight bytes times signed activations.
//
// Lanes are output channels: one 64-byte quad of weights (16 channels, 4 inputs) against 4
// activation bytes of a token, broadcast. The weight bytes are u = code - zero + offset with a
// constant offset, or biased codes with a zero point per channel; the sum of
// (code - zero) * x is then sum u * x - offset * sum x, and the second term, which depends on
// token and group only, is where the sum starts from.

#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 warns about the undefined operands inside its own AVX-512 intrinsics (PR 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include "kernels/integer_gemm/k_blocks.h"
#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// 6 x 2 blocks: 12 integer and 12 float sums, 2 weights and a broadcast fit 32 registers.
constexpr std::size_t kTileTokens = 6;
constexpr std::size_t kTileBlocks = 2;
constexpr std::size_t kTileRows = kTileBlocks * kBlockRows;
// Tokens that share one unpacked panel; their codes and sums stay in the second-level cache.
constexpr std::size_t kTokenBlock = 96;

// 16 scales widened to float32, exactly.
inline __m512 load_scales(const void* scales, ElementType type, std::size_t index) {
  if (type == ElementType::kF32) {
    return _mm512_loadu_ps(static_cast<const float*>(scales) + index);
  }
  const __m256i half = _mm256_loadu_si256(
      reinterpret_cast<const __m256i*>(static_cast<const std::uint16_t*>(scales) + index));
  if (type == ElementType::kF16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

// The channels of a block that exist.
inline __mmask16 channel_mask(const PackedWeights& w, std::size_t block) {
  const std::size_t rest = w.rows - block * kBlockRows;
  return rest >= kBlockRows ? __mmask16{0xFFFF} : static_cast<__mmask16>((1U << rest) - 1U);
}

inline __m512i broadcast_quad(const std::int8_t* x) {
  std::int32_t quad;
  __builtin_memcpy(&quad, x, sizeof(quad));
  return _mm512_set1_epi32(quad);
}

// What the tiles of one panel (two blocks of channels, one block of slabs) share.
struct Panel {
  const std::uint8_t* weights;  // quads of the panel's first block
  std::size_t weight_stride;    // bytes from block to block
  const std::int32_t* zeros;    // [groups, kTileRows], biased; null: a constant offset
  const std::int32_t*
      weight_sums;      // [groups, kTileRows], sum of code - zero; read where x has zero points
  const float* scales;  // [groups, kTileRows]
  const float* bias;    // [kTileRows] or null
  __mmask16 masks[kTileBlocks];
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
  float* y;
  std::size_t y_stride;
};

template <std::size_t kTokens, std::size_t kBlocks>
__attribute__((noinline)) void multiply_tile(const Panel& panel, const TileTokens& tokens) {
  __m512 y[kTokens][kBlocks];
#pragma GCC unroll 8
  for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (std::size_t b = 0; b < kBlocks; ++b) {
      y[t][b] = panel.first ? _mm512_setzero_ps()
                            : _mm512_maskz_loadu_ps(
                                  panel.masks[b], tokens.y + t * tokens.y_stride + b * kBlockRows);
    }
  }
  const std::uint8_t* w = panel.weights;
  const std::int8_t* x = tokens.x;
  std::size_t slabs_left = panel.k.slabs;
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    __m512i sum[kTokens][kBlocks];
#pragma GCC unroll 8
    for (std::size_t t = 0; t < kTokens; ++t) {
      const __m512i start = _mm512_set1_epi32(tokens.start[t * tokens.start_stride + g]);
#pragma GCC unroll 2
      for (std::size_t b = 0; b < kBlocks; ++b) {
        const std::size_t at = g * kTileRows + b * kBlockRows;
        sum[t][b] = start;
        if (panel.zeros != nullptr) {
          sum[t][b] = _mm512_mullo_epi32(start, _mm512_loadu_si512(panel.zeros + at));
        }
        if (tokens.zero_points != nullptr) {
          sum[t][b] = _mm512_sub_epi32(
              sum[t][b], _mm512_mullo_epi32(_mm512_set1_epi32(tokens.zero_points[t]),
                                            _mm512_loadu_si512(panel.weight_sums + at)));
        }
      }
    }
    const std::size_t slabs = slabs_left < panel.k.group_slabs ? slabs_left : panel.k.group_slabs;
    slabs_left -= slabs;
    for (std::size_t slab = 0; slab < slabs; ++slab) {
#pragma GCC unroll 8
      for (std::size_t quad = 0; quad < kSlabCols / 4; ++quad) {
        __m512i weights[kBlocks];
#pragma GCC unroll 2
        for (std::size_t b = 0; b < kBlocks; ++b) {
          weights[b] = _mm512_loadu_si512(w + quad * kQuadBytes + b * panel.weight_stride);
        }
#pragma GCC unroll 8
        for (std::size_t t = 0; t < kTokens; ++t) {
          const __m512i codes = broadcast_quad(x + quad * 4 + t * tokens.x_stride);
#pragma GCC unroll 2
          for (std::size_t b = 0; b < kBlocks; ++b) {
            sum[t][b] = _mm512_dpbusd_epi32(sum[t][b], weights[b], codes);
          }
        }
      }
      w += kSlabBytes8;
      x += kSlabCols;
    }
    if (panel.k.continues || panel.k.unfinished) {
#pragma GCC unroll 8
      for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (std::size_t b = 0; b < kBlocks; ++b) {
          std::int32_t* carry = tokens.carry + t * kTileRows + b * kBlockRows;
          if (panel.k.continues) {
            sum[t][b] = _mm512_add_epi32(sum[t][b], _mm512_loadu_si512(carry));
          }
          if (panel.k.unfinished) _mm512_storeu_si512(carry, sum[t][b]);
        }
      }
      if (panel.k.unfinished) return;
    }
#pragma GCC unroll 2
    for (std::size_t b = 0; b < kBlocks; ++b) {
      const __m512 scale = _mm512_loadu_ps(panel.scales + g * kTileRows + b * kBlockRows);
#pragma GCC unroll 8
      for (std::size_t t = 0; t < kTokens; ++t) {
        y[t][b] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][b]), scale, y[t][b]);
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (std::size_t b = 0; b < kBlocks; ++b) {
      const std::size_t channel = b * kBlockRows;
      __m512 value = y[t][b];
      if (panel.last) {
        value = _mm512_mul_ps(value, _mm512_set1_ps(tokens.scales[t]));
        if (panel.bias != nullptr) {
          value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(panel.masks[b], panel.bias + channel));
        }
      }
      _mm512_mask_storeu_ps(tokens.y + t * tokens.y_stride + channel, panel.masks[b], value);
    }
  }
}

using MultiplyTileFn = void (*)(const Panel& panel, const TileTokens& tokens);

template <std::size_t kBlocks>
MultiplyTileFn tile_function(std::size_t tokens) {
  static constexpr MultiplyTileFn kFunctions[kTileTokens] = {
      multiply_tile<1, kBlocks>, multiply_tile<2, kBlocks>, multiply_tile<3, kBlocks>,
      multiply_tile<4, kBlocks>, multiply_tile<5, kBlocks>, multiply_tile<6, kBlocks>};
  return kFunctions[tokens - 1];
}

// out [tokens, groups of the block]: -offset * sum over the group's slabs of the codes.
inline void negative_sums(const QuantizedActivations& x, std::size_t token, std::size_t tokens,
                          std::size_t slabs_of_row, const KBlock& k, std::int32_t offset,
                          std::int32_t* out) {
  const __m512i factor = _mm512_set1_epi16(static_cast<std::int16_t>(-offset));
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::int16_t* pairs = x.pair_sums + ((token + t) * slabs_of_row + k.slab_begin) * 2;
    std::int32_t* row = out + t * k.groups;
    if (k.group_slabs == 1) {
      for (std::size_t slab = 0; slab < k.slabs; slab += 16) {
        const std::size_t rest = k.slabs - slab;
        const __mmask16 mask =
            rest >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1U << rest) - 1U);
        const __m512i sums = _mm512_maskz_loadu_epi32(mask, pairs + slab * 2);
        _mm512_mask_storeu_epi32(row + slab, mask, _mm512_madd_epi16(sums, factor));
      }
      continue;
    }
    std::size_t slab = 0;
    for (std::size_t g = 0; g < k.groups; ++g) {
      const std::size_t end = slab + k.group_slabs < k.slabs ? slab + k.group_slabs : k.slabs;
      std::int32_t sum = 0;
      for (; slab < end; ++slab) sum += pairs[slab * 2] + pairs[slab * 2 + 1];
      row[g] = -offset * sum;
    }
  }
}

// Every token of [token, token + tokens) against one panel, in tiles of nearly equal size.
//   start  [tokens, groups]
//   carry  [tokens, kTileRows]
inline void multiply_panel(const IntegerGemmArgs& args, const Panel& panel, std::size_t blocks,
                           std::size_t channel, std::size_t token, std::size_t tokens,
                           const std::int32_t* start, std::int32_t* carry) {
  const std::size_t tiles = ceil_div(tokens, kTileTokens);
  std::size_t done = 0;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t count = (tokens - done) / (tiles - i);
    const std::size_t m = token + done;
    const TileTokens tile{
        .x = args.x.codes + m * args.x.stride + panel.k.slab_begin * kSlabCols,
        .x_stride = args.x.stride,
        .start = start + done * panel.k.groups,
        .start_stride = panel.k.groups,
        .scales = args.x.scales + m,
        .zero_points = args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
        .carry = carry + done * kTileRows,
        .y = args.y + m * args.y_stride + channel,
        .y_stride = args.y_stride};
    const MultiplyTileFn multiply =
        blocks == kTileBlocks ? tile_function<kTileBlocks>(count) : tile_function<1>(count);
    multiply(panel, tile);
    done += count;
  }
}

}  // namespace
}  // namespace fptq::kernels
