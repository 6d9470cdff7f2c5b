// What the AVX2 products share: panels of one block of 16 channels, and the ends of tiles.

#pragma once

#include <immintrin.h>

#include "kernels/integer_gemm/chunk_x86.h"
#include "kernels/integer_gemm/k_blocks.h"
#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// One block of channels and one block of slabs.
struct Panel {
  const std::uint8_t* weights;
  const std::int32_t* zeros;  // [groups, 16], biased; where weights have zero points
  const std::int32_t*
      weight_sums;       // [groups, 16], sum of code - zero; read where x has zero points
  const float* scales;   // [groups, 16]
  const float* bias;     // [16] or null
  std::size_t channels;  // of the 16 that exist
  KBlock k;
  bool first;  // no group was finished before this block
  bool last;   // this block finishes the last group
};

// The tokens of one tile.
struct TileTokens {
  const std::int8_t* x;       // codes at the panel's first slab
  const std::int32_t* start;  // [tokens, start_stride], what sums start from
  std::size_t x_stride;
  std::size_t start_stride;
  const float* scales;
  const std::int32_t* zero_points;  // or null
  std::int32_t* carry;              // [tokens, 16] sums of an unfinished group
  float* kept;                      // [tokens, 16] results of the panels before
  float* y;
  std::size_t y_stride;
  bool streamed;  // whole rows of y are written past the caches
};

// Results of a tile while it runs. In memory on purpose: the registers are for integer sums.
template <std::size_t kTokens>
struct alignas(64) TileResults {
  float y[kTokens][kBlockRows];
};

// Keeps gcc 12 from hoisting the products of a whole group above their sums, which would spill
// some two hundred vectors.
inline void keep_in_order(__m256i& value) {
  asm volatile("" : "+x"(value));
}
// Keeps results that belong in memory from being cached in registers.
inline void forget_registers() {
  asm volatile("" ::: "memory");
}

inline __m256i load_lanes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void store_lanes(void* p, __m256i value) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), value);
}

inline __m256i broadcast_dword(const void* p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return _mm256_set1_epi32(value);
}

// 8 scales widened to float32, exactly.
inline __m256 load_scales(const void* scales, ElementType type, std::size_t index) {
  if (type == ElementType::kF32) {
    return _mm256_loadu_ps(static_cast<const float*>(scales) + index);
  }
  const __m128i half = _mm_loadu_si128(
      reinterpret_cast<const __m128i*>(static_cast<const std::uint16_t*>(scales) + index));
  if (type == ElementType::kF16) return _mm256_cvtph_ps(half);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

template <std::size_t kTokens>
void load_results(const Panel& panel, const TileTokens& tokens, TileResults<kTokens>& results) {
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t c = 0; c < kBlockRows; c += 8) {
      const float* kept = tokens.kept + t * kBlockRows + c;
      _mm256_store_ps(&results.y[t][c], panel.first ? _mm256_setzero_ps() : _mm256_loadu_ps(kept));
    }
  }
}

// y = results * scale + bias, the channels that exist.
inline void finish_row(const Panel& panel, const TileTokens& tokens, std::size_t t,
                       const float* results) {
  alignas(32) float finished[kBlockRows];
  for (std::size_t c = 0; c < kBlockRows; c += 8) {
    _mm256_store_ps(finished + c,
                    _mm256_mul_ps(_mm256_load_ps(results + c), _mm256_set1_ps(tokens.scales[t])));
  }
  for (std::size_t c = 0; panel.bias != nullptr && c < panel.channels; ++c) {
    finished[c] += panel.bias[c];
  }
  float* y = tokens.y + t * tokens.y_stride;
  if (panel.channels < kBlockRows) {
    for (std::size_t c = 0; c < panel.channels; ++c) y[c] = finished[c];
    return;
  }
  for (std::size_t c = 0; c < kBlockRows; c += 8) {
    if (tokens.streamed) {
      _mm256_stream_ps(y + c, _mm256_load_ps(finished + c));
    } else {
      _mm256_storeu_ps(y + c, _mm256_load_ps(finished + c));
    }
  }
}

// Keeps results for the next panel, or finishes them.
template <std::size_t kTokens>
void store_results(const Panel& panel, const TileTokens& tokens,
                   const TileResults<kTokens>& results) {
  for (std::size_t t = 0; t < kTokens; ++t) {
    if (panel.last) {
      finish_row(panel, tokens, t, results.y[t]);
      continue;
    }
    for (std::size_t c = 0; c < kBlockRows; c += 8) {
      _mm256_storeu_ps(tokens.kept + t * kBlockRows + c, _mm256_load_ps(&results.y[t][c]));
    }
  }
}

// sum - x_zero * weight_sum, for a group or a part of one. half: which 8 of the 16 channels.
inline __m256i subtract_zero_point(const Panel& panel, const TileTokens& tokens, std::size_t group,
                                   std::size_t t, std::size_t half, __m256i sum) {
  if (tokens.zero_points != nullptr) {
    const __m256i weight_sum = load_lanes(panel.weight_sums + group * kBlockRows + half * 8);
    sum = _mm256_sub_epi32(
        sum, _mm256_mullo_epi32(_mm256_set1_epi32(tokens.zero_points[t]), weight_sum));
  }
  return sum;
}

// Adds a finished group to the results: y = fma(float(sum), scale, y).
template <std::size_t kTokens>
inline void finish_group(const Panel& panel, std::size_t group, std::size_t t, std::size_t half,
                         __m256i sum, TileResults<kTokens>& results) {
  float* y = &results.y[t][half * 8];
  const __m256 scale = _mm256_loadu_ps(panel.scales + group * kBlockRows + half * 8);
  _mm256_store_ps(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, _mm256_load_ps(y)));
}

// Ends a group whose sums are in 32-bit lanes. False: the group goes on in the next panel.
template <std::size_t kTokens>
bool end_group(const Panel& panel, const TileTokens& tokens, std::size_t group,
               __m256i (&sums)[kTokens][2], TileResults<kTokens>& results) {
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t half = 0; half < 2; ++half) {
      std::int32_t* carry = tokens.carry + t * kBlockRows + half * 8;
      __m256i sum = subtract_zero_point(panel, tokens, group, t, half, sums[t][half]);
      if (panel.k.continues) sum = _mm256_add_epi32(sum, load_lanes(carry));
      if (panel.k.unfinished) {
        store_lanes(carry, sum);
      } else {
        finish_group(panel, group, t, half, sum, results);
      }
    }
  }
  return !panel.k.unfinished;
}

// Calls multiply(count, tile) for tiles of nearly equal size, of at most max_tile tokens.
//   block  of channels, the slot-th of its chunk
//   start  [tokens, start_stride]
template <typename Multiply>
void for_each_tile(const IntegerGemmArgs& args, std::size_t max_tile, const KBlock& k,
                   std::size_t block, std::size_t slot, std::size_t token, std::size_t tokens,
                   const std::int32_t* start, std::size_t start_stride, ChunkScratch& chunk,
                   const Multiply& multiply) {
  const std::size_t tiles = ceil_div(tokens, max_tile);
  const std::size_t first = slot * kBlockRows * kTokenBlock;
  float* y = args.y + token * args.y_stride + block * kBlockRows;
  const bool streamed = results_are_streamed(args, y);
  std::size_t done = 0;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t count = (tokens - done) / (tiles - i);
    const std::size_t m = token + done;
    multiply(count, TileTokens{.x = args.x.codes + m * args.x.stride + k.slab_begin * kSlabCols,
                               .start = start + done * start_stride,
                               .x_stride = args.x.stride,
                               .start_stride = start_stride,
                               .scales = args.x.scales + m,
                               .zero_points =
                                   args.x.zero_points == nullptr ? nullptr : args.x.zero_points + m,
                               .carry = chunk.carry + first + done * kBlockRows,
                               .kept = chunk.results + first + done * kBlockRows,
                               .y = y + done * args.y_stride,
                               .y_stride = args.y_stride,
                               .streamed = streamed});
    done += count;
  }
}

inline std::size_t channels_of(const PackedWeights& w, std::size_t block) {
  const std::size_t rest = w.rows - block * kBlockRows;
  return rest < kBlockRows ? rest : kBlockRows;
}

// The panel of `block` with weights at its first slab.
//   scratch  weight_sums and scales of the panel
// zeros are null.
template <typename Scratch>
Panel panel_at(const IntegerGemmArgs& args, std::size_t block, const KBlock& k,
               const std::uint8_t* weights, const Scratch& scratch) {
  return {.weights = weights,
          .zeros = nullptr,
          .weight_sums = scratch.weight_sums,
          .scales = scratch.scales,
          .bias = args.bias == nullptr ? nullptr : args.bias + block * kBlockRows,
          .channels = channels_of(args.w, block),
          .k = k,
          .first = k.group_begin == 0,
          .last = k.slab_begin + k.slabs == slab_count(args.w.cols)};
}

}  // namespace
}  // namespace fptq::kernels
