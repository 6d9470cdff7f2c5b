// AVX2 variant: vpmaddwd on 16-bit operands, which is exact for every code (vpmaddubsw would
// saturate: 2 * 255 * 128 does not fit 16 bits).

#include <immintrin.h>

#include "kernels/integer_gemm/panel_avx2.h"
#include "kernels/integer_gemm/records.h"
#include "kernels/w8a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 16 channels x 1024 inputs, 16 KiB.
constexpr std::size_t kPanelSlabs = 32;
// 8 sums, 4 weights, 2 broadcasts and 2 products fill the 16 registers.
constexpr std::size_t kTileTokens = 4;
// Bytes ahead that the weights are asked for where few tokens use them.
constexpr std::size_t kPrefetchBytes = 8192;

struct Scratch {
  alignas(64) std::int32_t zeros[kPanelSlabs * kBlockRows];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kBlockRows];
  alignas(64) float scales[kPanelSlabs * kBlockRows];
  alignas(64) std::int32_t start[kTokenBlock * kPanelSlabs];
  ChunkScratch chunk;
};

// Scales, zero points and sums of the groups of a panel.
void prepare_block(const PackedWeights& w, std::size_t block, const KBlock& k, bool zero_point,
                   Scratch& scratch) {
  const std::uint8_t* codes = slab_codes(w, block, k.slab_begin);
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t group = k.group_begin + g;
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t slot = g * kBlockRows + half * 8;
      _mm256_store_ps(scratch.scales + slot,
                      load_scales(group_scales(w, block, group), w.scale_type, half * 8));
      __m256i zeros = _mm256_set1_epi32(kBias8);
      if (w.zeros != nullptr) {
        zeros = _mm256_cvtepu8_epi32(_mm_loadl_epi64(
            reinterpret_cast<const __m128i*>(group_zeros(w, block, group) + half * 8)));
      }
      store_lanes(scratch.zeros + slot, zeros);
      if (!zero_point) continue;
      __m256i sum = _mm256_setzero_si256();
      for (std::size_t quad = 0; quad < slabs * 8; ++quad) {
        // Pairs of bytes: at most 510, so 16 bits are enough before they are widened.
        const __m256i pairs = _mm256_maddubs_epi16(
            load_lanes(codes + quad * kQuadBytes + half * 32), _mm256_set1_epi8(1));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
      }
      const __m256i inputs = _mm256_set1_epi32(static_cast<std::int32_t>(slabs * kSlabCols));
      store_lanes(scratch.weight_sums + slot,
                  _mm256_sub_epi32(sum, _mm256_mullo_epi32(zeros, inputs)));
    }
    codes += slabs * kSlabBytes8;
  }
}

// out [tokens, groups]: minus the sum of the codes of each group.
void negative_sums(const QuantizedActivations& x, std::size_t token, std::size_t tokens,
                   std::size_t slabs_of_row, const KBlock& k, std::int32_t* out) {
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::int16_t* pairs = x.pair_sums + ((token + t) * slabs_of_row + k.slab_begin) * 2;
    for (std::size_t g = 0; g < k.groups; ++g) {
      const std::size_t begin = g * k.group_slabs;
      const std::size_t end = begin + k.group_slabs < k.slabs ? begin + k.group_slabs : k.slabs;
      std::int32_t sum = 0;
      for (std::size_t slab = begin; slab < end; ++slab) {
        sum += pairs[slab * 2] + pairs[slab * 2 + 1];
      }
      out[t * k.groups + g] = -sum;
    }
  }
}

// Codes as 16-bit numbers, inputs 0 and 2 of a quad in one 32-bit word, 1 and 3 in the next.
template <std::size_t kTokens>
struct WideCodes {
  alignas(64) std::int16_t even[kTokens][kPanelSlabs * kSlabCols / 2];
  alignas(64) std::int16_t odd[kTokens][kPanelSlabs * kSlabCols / 2];
};

template <std::size_t kTokens>
void widen_codes(const TileTokens& tokens, std::size_t slabs, WideCodes<kTokens>& wide) {
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      const __m256i codes = load_lanes(tokens.x + t * tokens.x_stride + slab * kSlabCols);
      store_lanes(wide.even[t] + slab * 16, _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8));
      store_lanes(wide.odd[t] + slab * 16, _mm256_srai_epi16(codes, 8));
    }
  }
}

template <std::size_t kTokens>
__attribute__((noinline)) void multiply_tile(const Panel& panel, const TileTokens& tokens) {
  TileResults<kTokens> results;
  WideCodes<kTokens> x;
  load_results(panel, tokens, results);
  widen_codes(tokens, panel.k.slabs, x);
  const std::uint8_t* w = panel.weights;
  const __m256i even_bytes = _mm256_set1_epi16(0x00FF);
  std::size_t done = 0;  // slabs
  for (std::size_t g = 0; g < panel.k.groups; ++g) {
    __m256i sums[kTokens][2];
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (std::size_t half = 0; half < 2; ++half) {
        sums[t][half] =
            _mm256_mullo_epi32(_mm256_set1_epi32(tokens.start[t * tokens.start_stride + g]),
                               load_lanes(panel.zeros + g * kBlockRows + half * 8));
      }
    }
    const std::size_t left = panel.k.slabs - done;
    const std::size_t slabs = left < panel.k.group_slabs ? left : panel.k.group_slabs;
    for (std::size_t quad = done * 8; quad < (done + slabs) * 8; ++quad) {
      if constexpr (kTokens == 1) {
        _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes), _MM_HINT_T0);
      }
#pragma GCC unroll 2
      for (std::size_t half = 0; half < 2; ++half) {
        const __m256i bytes = load_lanes(w + half * 32);
        const __m256i even = _mm256_and_si256(bytes, even_bytes);
        const __m256i odd = _mm256_srli_epi16(bytes, 8);
#pragma GCC unroll 4
        for (std::size_t t = 0; t < kTokens; ++t) {
          const __m256i product0 = _mm256_madd_epi16(even, broadcast_dword(&x.even[t][quad * 2]));
          const __m256i product1 = _mm256_madd_epi16(odd, broadcast_dword(&x.odd[t][quad * 2]));
          sums[t][half] = _mm256_add_epi32(sums[t][half], _mm256_add_epi32(product0, product1));
          keep_in_order(sums[t][half]);
        }
        // Kept for the other half, the broadcasts would push sums out of the registers.
        forget_registers();
      }
      w += kQuadBytes;
    }
    done += slabs;
    if (!end_group(panel, tokens, g, sums, results)) return;
  }
  store_results(panel, tokens, results);
}

using MultiplyTileFn = void (*)(const Panel& panel, const TileTokens& tokens);

constexpr MultiplyTileFn kTiles[kTileTokens] = {multiply_tile<1>, multiply_tile<2>,
                                                multiply_tile<3>, multiply_tile<4>};

}  // namespace

void w8a8_gemm_avx2(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  const bool zero_point = args.x.zero_points != nullptr;
  for_each_panel_of_chunks(
      args, k_blocks, kTokenBlock, kChunkBlocks, 1,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        negative_sums(args.x, token, tokens, k_blocks.slabs(), k, scratch.start);
      },
      [&](std::size_t token, std::size_t tokens, std::size_t block, std::size_t slot,
          const KBlock& k) {
        Panel panel = panel_at(args, block, k, slab_codes(w, block, k.slab_begin), scratch);
        panel.zeros = scratch.zeros;
        prepare_block(w, block, k, zero_point, scratch);
        for_each_tile(args, kTileTokens, k, block, slot, token, tokens, scratch.start, k.groups,
                      scratch.chunk, [&](std::size_t count, const TileTokens& tile) {
                        kTiles[count - 1](panel, tile);
                      });
      });
  finish_streaming();
}

}  // namespace fptq::kernels
