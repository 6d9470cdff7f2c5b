// AVX2 variant: vpmaddubsw with 16-bit sums over a slab, widened once per slab.
//
// A 16-bit lane of a quad holds 2 inputs of a channel, so it sums 16 products of a slab. The true
// sum of (code - zero) * x is at most 16 * 15 * 128 = 30720 in magnitude; that intermediate sums
// wrap does not matter. vpmaddubsw itself cannot saturate: 2 * 30 * 128 = 7680.

#include <immintrin.h>

#include "kernels/integer_gemm/panel_avx2.h"
#include "kernels/integer_gemm/records.h"
#include "kernels/w4a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 16 channels x 1024 inputs, 16 KiB unpacked.
constexpr std::size_t kPanelSlabs = 32;
// u = code - zero + 15 is in [0, 30], whatever the zero point.
constexpr std::int32_t kPanelOffset = 15;
// 12 sums, 2 weights, a broadcast and a product fill the 16 registers.
constexpr std::size_t kTileTokens = 6;
// Up to so many tokens the nibbles are multiplied as they are stored, so many at a time.
constexpr std::size_t kDirectTokens = 6;
constexpr std::size_t kDirectTile = 3;
// Bytes ahead that the direct path asks for: the arithmetic keeps loads from running ahead.
constexpr std::size_t kPrefetchBytes = 8192;

struct Scratch {
  alignas(64) std::uint8_t weights[kPanelSlabs * kSlabBytes8];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kBlockRows];
  alignas(64) float scales[kPanelSlabs * kBlockRows];
  alignas(64) std::int32_t start[kTokenBlock * kPanelSlabs];
  ChunkScratch chunk;
};

// 8 zero points of a group, biased by 8, one per 32-bit lane. half: which 8 of the 16 channels.
__m256i load_zeros(const PackedWeights& w, std::size_t block, std::size_t group, std::size_t half) {
  if (w.zeros == nullptr) return _mm256_set1_epi32(kBias4);
  const __m128i packed =
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(group_zeros(w, block, group)));
  const __m128i nibbles = half == 0 ? packed : _mm_srli_epi16(packed, 4);
  return _mm256_cvtepu8_epi32(_mm_and_si128(nibbles, _mm_set1_epi8(0x0F)));
}

// A 16-bit sum of a slab as 32-bit lanes, one per channel.
__m256i widen(__m256i sum) {
  return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

// Unpacks the slabs of `k` of one block; channels 8 to 15 of a quad follow channels 0 to 7.
void unpack_block(const PackedWeights& w, std::size_t block, const KBlock& k, Scratch& scratch) {
  // The same slab of the panel after this one, so that memory works while the tiles multiply.
  const std::size_t next_panel = w.records.block_bytes;
  std::uint8_t* out = scratch.weights;
  const __m256i low_nibbles = _mm256_set1_epi8(0x0F);
  std::size_t slab_begin = k.slab_begin;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t group = k.group_begin + g;
    const std::uint8_t* codes = slab_codes(w, block, slab_begin);
    const std::size_t slabs_left = k.slab_begin + k.slabs - slab_begin;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slab_begin += slabs;
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t slot = g * kBlockRows + half * 8;
      _mm256_store_ps(scratch.scales + slot,
                      load_scales(group_scales(w, block, group), w.scale_type, half * 8));
      // 15 - zero in each of a channel's 4 bytes.
      const __m256i lift = _mm256_mullo_epi32(
          _mm256_sub_epi32(_mm256_set1_epi32(kPanelOffset), load_zeros(w, block, group, half)),
          _mm256_set1_epi32(0x01010101));
      __m256i sum = _mm256_set1_epi32(-kPanelOffset * static_cast<std::int32_t>(slabs * kSlabCols));
      for (std::size_t slab = 0; slab < slabs; ++slab) {
        const std::uint8_t* from = codes + slab * kSlabBytes4 + half * 32;
        std::uint8_t* to = out + slab * kSlabBytes8 + half * 32;
        __m256i slab_sum = _mm256_setzero_si256();
        for (std::size_t j = 0; j < 4; ++j) {
          const __m256i packed = load_lanes(from + j * kQuadBytes);
          _mm_prefetch(reinterpret_cast<const char*>(from + j * kQuadBytes + next_panel),
                       _MM_HINT_T1);
          const __m256i low = _mm256_add_epi8(_mm256_and_si256(packed, low_nibbles), lift);
          const __m256i high =
              _mm256_add_epi8(_mm256_and_si256(_mm256_srli_epi16(packed, 4), low_nibbles), lift);
          store_lanes(to + j * kQuadBytes, low);
          store_lanes(to + (j + 4) * kQuadBytes, high);
          slab_sum = _mm256_add_epi16(
              slab_sum, _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1)));
        }
        sum = _mm256_add_epi32(sum, widen(slab_sum));
      }
      store_lanes(scratch.weight_sums + slot, sum);
    }
    out += slabs * kSlabBytes8;
  }
}

// sums = the 16-bit sums of one slab.
//   start  at the slab: -15 * pair sums
template <std::size_t kTokens>
inline __attribute__((always_inline)) void multiply_slab(const std::uint8_t* w,
                                                         const std::int8_t* x, std::size_t x_stride,
                                                         const std::int32_t* start,
                                                         std::size_t start_stride,
                                                         __m256i (&sums)[kTokens][2]) {
#pragma GCC unroll 8
  for (std::size_t t = 0; t < kTokens; ++t) {
    sums[t][0] = broadcast_dword(start + t * start_stride);
    sums[t][1] = sums[t][0];
  }
#pragma GCC unroll 8
  for (std::size_t quad = 0; quad < kSlabCols / 4; ++quad) {
    const __m256i w0 = load_lanes(w + quad * kQuadBytes);
    const __m256i w1 = load_lanes(w + quad * kQuadBytes + 32);
#pragma GCC unroll 8
    for (std::size_t t = 0; t < kTokens; ++t) {
      const __m256i codes = broadcast_dword(x + t * x_stride + quad * 4);
      // Both products before both sums: the order that keeps the multipliers busiest.
      const __m256i product0 = _mm256_maddubs_epi16(w0, codes);
      const __m256i product1 = _mm256_maddubs_epi16(w1, codes);
      sums[t][0] = _mm256_add_epi16(sums[t][0], product0);
      sums[t][1] = _mm256_add_epi16(sums[t][1], product1);
      keep_in_order(sums[t][0]);
      keep_in_order(sums[t][1]);
    }
  }
}

template <std::size_t kTokens>
__attribute__((noinline)) void multiply_tile(const Panel& panel, const TileTokens& tokens) {
  TileResults<kTokens> results;
  load_results(panel, tokens, results);
  const std::uint8_t* w = panel.weights;
  const std::int8_t* x = tokens.x;
  const std::int32_t* start = tokens.start;
  std::size_t slabs_left = panel.k.slabs;
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    const std::size_t slabs = slabs_left < panel.k.group_slabs ? slabs_left : panel.k.group_slabs;
    slabs_left -= slabs;
    __m256i narrow[kTokens][2];
    if (slabs == 1 && !panel.k.continues && !panel.k.unfinished) {
      multiply_slab(w, x, tokens.x_stride, start, tokens.start_stride, narrow);
#pragma GCC unroll 8
      for (std::size_t t = 0; t < kTokens; ++t) {
        finish_group(panel, g, t, 0,
                     subtract_zero_point(panel, tokens, g, t, 0, widen(narrow[t][0])), results);
        finish_group(panel, g, t, 1,
                     subtract_zero_point(panel, tokens, g, t, 1, widen(narrow[t][1])), results);
      }
      forget_registers();
      w += kSlabBytes8;
      x += kSlabCols;
      ++start;
      continue;
    }
    __m256i wide[kTokens][2];
    for (std::size_t t = 0; t < kTokens; ++t) wide[t][0] = wide[t][1] = _mm256_setzero_si256();
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      multiply_slab(w, x, tokens.x_stride, start, tokens.start_stride, narrow);
#pragma GCC unroll 8
      for (std::size_t t = 0; t < kTokens; ++t) {
        wide[t][0] = _mm256_add_epi32(wide[t][0], widen(narrow[t][0]));
        wide[t][1] = _mm256_add_epi32(wide[t][1], widen(narrow[t][1]));
      }
      forget_registers();
      w += kSlabBytes8;
      x += kSlabCols;
      ++start;
    }
    if (!end_group(panel, tokens, g, wide, results)) return;
  }
  store_results(panel, tokens, results);
}

using MultiplyTileFn = void (*)(const Panel& panel, const TileTokens& tokens);

constexpr MultiplyTileFn kTiles[kTileTokens] = {multiply_tile<1>, multiply_tile<2>,
                                                multiply_tile<3>, multiply_tile<4>,
                                                multiply_tile<5>, multiply_tile<6>};

// out [tokens, slabs of the block]: -15 times the pair sums, two 16-bit numbers each.
void start_sums(const QuantizedActivations& x, std::size_t token, std::size_t tokens,
                std::size_t slabs_of_row, const KBlock& k, std::int32_t* out) {
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::int16_t* pairs = x.pair_sums + ((token + t) * slabs_of_row + k.slab_begin) * 2;
    auto* row = reinterpret_cast<char*>(out + t * k.slabs);
    for (std::size_t i = 0; i < k.slabs * 2; ++i) {
      const auto value = static_cast<std::int16_t>(-kPanelOffset * pairs[i]);
      __builtin_memcpy(row + i * sizeof(value), &value, sizeof(value));
    }
  }
}

void multiply_unpacked(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  for_each_panel_of_chunks(
      args, k_blocks, kTokenBlock, kChunkBlocks, 1,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        start_sums(args.x, token, tokens, k_blocks.slabs(), k, scratch.start);
      },
      [&](std::size_t token, std::size_t tokens, std::size_t block, std::size_t slot,
          const KBlock& k) {
        const Panel panel = panel_at(args, block, k, scratch.weights, scratch);
        unpack_block(w, block, k, scratch);
        for_each_tile(
            args, kTileTokens, k, block, slot, token, tokens, scratch.start, k.slabs, scratch.chunk,
            [&](std::size_t count, const TileTokens& tile) { kTiles[count - 1](panel, tile); });
      });
  finish_streaming();
}

// kTokens tokens against one block, the nibbles u multiplied as they are stored:
// sum (u - zero) * x = sum u * x - zero * sum x. 16 * 15 * 128 fits the 16-bit sums here, too.
template <std::size_t kTokens, bool kZeroPoint>
void multiply_direct(const IntegerGemmArgs& args, std::size_t block, std::size_t token) {
  const PackedWeights& w = args.w;
  const std::size_t slabs_of_row = slab_count(w.cols);
  const std::size_t group_slabs = KBlocks(w.cols, w.group_width, slabs_of_row).at(0).group_slabs;
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const __m256i low_nibbles = _mm256_set1_epi8(0x0F);
  TileResults<kTokens> results{};
  const std::int8_t* x = args.x.codes + token * args.x.stride;
  const std::int16_t* pairs = args.x.pair_sums + token * slabs_of_row * 2;
  std::size_t slabs_left = slabs_of_row;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::uint8_t* codes = slab_codes(w, block, slabs_of_row - slabs_left);
    const std::size_t slabs = slabs_left < group_slabs ? slabs_left : group_slabs;
    slabs_left -= slabs;
    __m256i wide[kTokens][2];
    __m256i weight_sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    std::int32_t x_sums[kTokens] = {};
    for (std::size_t t = 0; t < kTokens; ++t) wide[t][0] = wide[t][1] = _mm256_setzero_si256();
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      __m256i narrow[kTokens][2];
      __m256i narrow_weights[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) {
        narrow[t][0] = narrow[t][1] = _mm256_setzero_si256();
        const std::int16_t* pair = pairs + t * slabs_of_row * 2;
        x_sums[t] += pair[0] + pair[1];
      }
#pragma GCC unroll 4
      for (std::size_t j = 0; j < 4; ++j) {
        _mm_prefetch(reinterpret_cast<const char*>(codes + j * kQuadBytes + kPrefetchBytes),
                     _MM_HINT_T0);
#pragma GCC unroll 2
        for (std::size_t half = 0; half < 2; ++half) {
          const __m256i packed = load_lanes(codes + j * kQuadBytes + half * 32);
          const __m256i low = _mm256_and_si256(packed, low_nibbles);
          const __m256i high = _mm256_and_si256(_mm256_srli_epi16(packed, 4), low_nibbles);
#pragma GCC unroll 4
          for (std::size_t t = 0; t < kTokens; ++t) {
            const std::int8_t* quad = x + t * args.x.stride + j * 4;
            const __m256i product0 = _mm256_maddubs_epi16(low, broadcast_dword(quad));
            const __m256i product1 = _mm256_maddubs_epi16(high, broadcast_dword(quad + 16));
            narrow[t][half] =
                _mm256_add_epi16(narrow[t][half], _mm256_add_epi16(product0, product1));
            keep_in_order(narrow[t][half]);
          }
          if constexpr (kZeroPoint) {
            narrow_weights[half] = _mm256_add_epi16(
                narrow_weights[half],
                _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1)));
          }
        }
      }
#pragma GCC unroll 2
      for (std::size_t half = 0; half < 2; ++half) {
        for (std::size_t t = 0; t < kTokens; ++t) {
          wide[t][half] = _mm256_add_epi32(wide[t][half], widen(narrow[t][half]));
        }
        weight_sums[half] = _mm256_add_epi32(weight_sums[half], widen(narrow_weights[half]));
      }
      codes += kSlabBytes4;
      x += kSlabCols;
      pairs += 2;
    }
    for (std::size_t half = 0; half < 2; ++half) {
      const __m256i zeros = load_zeros(w, block, g, half);
      const __m256 scale = load_scales(group_scales(w, block, g), w.scale_type, half * 8);
      for (std::size_t t = 0; t < kTokens; ++t) {
        __m256i sum = _mm256_sub_epi32(wide[t][half],
                                       _mm256_mullo_epi32(zeros, _mm256_set1_epi32(x_sums[t])));
        if constexpr (kZeroPoint) {
          const __m256i inputs = _mm256_set1_epi32(static_cast<std::int32_t>(slabs * kSlabCols));
          const __m256i weight_sum =
              _mm256_sub_epi32(weight_sums[half], _mm256_mullo_epi32(zeros, inputs));
          sum = _mm256_sub_epi32(
              sum,
              _mm256_mullo_epi32(weight_sum, _mm256_set1_epi32(args.x.zero_points[token + t])));
        }
        float* y = &results.y[t][half * 8];
        _mm256_store_ps(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, _mm256_load_ps(y)));
      }
    }
  }
  const Panel panel{.weights = nullptr,
                    .zeros = nullptr,
                    .weight_sums = nullptr,
                    .scales = nullptr,
                    .bias = args.bias == nullptr ? nullptr : args.bias + block * kBlockRows,
                    .channels = channels_of(w, block),
                    .k = {},
                    .first = true,
                    .last = true};
  const TileTokens tokens{.x = nullptr,
                          .start = nullptr,
                          .x_stride = 0,
                          .start_stride = 0,
                          .scales = args.x.scales + token,
                          .zero_points = nullptr,
                          .carry = nullptr,
                          .kept = nullptr,
                          .y = args.y + token * args.y_stride + block * kBlockRows,
                          .y_stride = args.y_stride,
                          .streamed = false};
  store_results(panel, tokens, results);
}

using MultiplyDirectFn = void (*)(const IntegerGemmArgs& args, std::size_t block,
                                  std::size_t token);

template <bool kZeroPoint>
void multiply_few(const IntegerGemmArgs& args) {
  static constexpr MultiplyDirectFn kFunctions[kDirectTile] = {multiply_direct<1, kZeroPoint>,
                                                               multiply_direct<2, kZeroPoint>,
                                                               multiply_direct<3, kZeroPoint>};
  const std::size_t tiles = ceil_div(args.x.rows, kDirectTile);
  for (std::size_t block = args.block_begin; block < args.block_end; ++block) {
    std::size_t done = 0;
    for (std::size_t i = 0; i < tiles; ++i) {
      const std::size_t count = (args.x.rows - done) / (tiles - i);
      kFunctions[count - 1](args, block, done);
      done += count;
    }
  }
}

}  // namespace

void w4a8_gemm_avx2(const IntegerGemmArgs& args) {
  if (args.x.rows == 0) return;
  if (args.x.rows > kDirectTokens) return multiply_unpacked(args);
  if (args.x.zero_points != nullptr) return multiply_few<true>(args);
  return multiply_few<false>(args);
}

}  // namespace fptq::kernels
