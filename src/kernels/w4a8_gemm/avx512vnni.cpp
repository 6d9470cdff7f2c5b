// AVX-512 VNNI variant: nibbles straight from memory for few tokens, else unpacked once for many.

#include "kernels/integer_gemm/tile_avx512vnni.h"
#include "kernels/w4a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 32 channels x 512 inputs, 16 KiB unpacked: half of a first-level cache.
constexpr std::size_t kPanelSlabs = 16;
// u = code - zero + 15 is in [0, 30], whatever the zero point.
constexpr std::int32_t kPanelOffset = 15;
// Up to so many tokens the nibbles are multiplied as they are stored, so many at a time.
constexpr std::size_t kDirectTokens = 12;
constexpr std::size_t kDirectTile = 4;
// Bytes ahead that the direct path asks for: the arithmetic keeps loads from running ahead.
constexpr std::size_t kPrefetchBytes = 4096;

// 16 zero points of a group, biased by 8, one per 32-bit lane.
__m512i load_zeros(const PackedWeights& w, std::size_t at) {
  if (w.zeros == nullptr) return _mm512_set1_epi32(kBias4);
  const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(w.zeros + at * 8));
  const __m128i both = _mm_unpacklo_epi64(packed, _mm_srli_epi16(packed, 4));
  return _mm512_cvtepu8_epi32(_mm_and_si128(both, _mm_set1_epi8(0x0F)));
}

// What one block contributes to a panel.
struct Scratch {
  alignas(64) std::uint8_t weights[kTileBlocks][kPanelSlabs * kSlabBytes8];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kTileRows];
  alignas(64) float scales[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t start[kTokenBlock * kPanelSlabs];
  alignas(64) std::int32_t carry[kTokenBlock * kTileRows];
};

// Unpacks the slabs of `k` of one block into column b of the panel.
template <bool kZeroPoint>
void unpack_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::size_t b,
                  Scratch& scratch) {
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const std::uint8_t* codes = w.codes + (block * slab_count(w.cols) + k.slab_begin) * kSlabBytes4;
  std::uint8_t* out = scratch.weights[b];
  // The same slab of the panel after this one, so that memory works while the tiles multiply.
  const std::size_t next_panel = kTileBlocks * slab_count(w.cols) * kSlabBytes4;
  const __m512i low_nibbles = _mm512_set1_epi8(0x0F);
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t at = block * groups + k.group_begin + g;
    const std::size_t slot = g * kTileRows + b * kBlockRows;
    _mm512_store_ps(scratch.scales + slot, load_scales(w.scales, w.scale_type, at * kBlockRows));
    // 15 - zero in each of a channel's 4 bytes.
    const __m512i lift =
        _mm512_mullo_epi32(_mm512_sub_epi32(_mm512_set1_epi32(kPanelOffset), load_zeros(w, at)),
                           _mm512_set1_epi32(0x01010101));
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    __m512i sum = _mm512_set1_epi32(-kPanelOffset * static_cast<std::int32_t>(slabs * kSlabCols));
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      for (std::size_t j = 0; j < 4; ++j) {
        const __m512i packed = _mm512_loadu_si512(codes + j * kQuadBytes);
        _mm_prefetch(reinterpret_cast<const char*>(codes + j * kQuadBytes + next_panel),
                     _MM_HINT_T1);
        const __m512i low = _mm512_add_epi8(_mm512_and_si512(packed, low_nibbles), lift);
        const __m512i high =
            _mm512_add_epi8(_mm512_and_si512(_mm512_srli_epi16(packed, 4), low_nibbles), lift);
        _mm512_store_si512(out + j * kQuadBytes, low);
        _mm512_store_si512(out + (j + 4) * kQuadBytes, high);
        if constexpr (kZeroPoint) {
          sum = _mm512_dpbusd_epi32(sum, low, _mm512_set1_epi8(1));
          sum = _mm512_dpbusd_epi32(sum, high, _mm512_set1_epi8(1));
        }
      }
      codes += kSlabBytes4;
      out += kSlabBytes8;
    }
    if constexpr (kZeroPoint) _mm512_store_si512(scratch.weight_sums + slot, sum);
  }
}

void multiply_unpacked(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  const bool zero_point = args.x.zero_points != nullptr;
  for (std::size_t token = 0; token < args.x.rows; token += kTokenBlock) {
    const std::size_t tokens =
        args.x.rows - token < kTokenBlock ? args.x.rows - token : kTokenBlock;
    for (std::size_t block = args.block_begin; block < args.block_end; block += kTileBlocks) {
      const std::size_t blocks = args.block_end - block < kTileBlocks ? 1 : kTileBlocks;
      Panel panel{.weights = scratch.weights[0],
                  .weight_stride = sizeof(scratch.weights[0]),
                  .zeros = nullptr,
                  .weight_sums = scratch.weight_sums,
                  .scales = scratch.scales,
                  .bias = args.bias == nullptr ? nullptr : args.bias + block * kBlockRows,
                  .masks = {},
                  .k = {},
                  .first = true,
                  .last = false};
      for (std::size_t b = 0; b < blocks; ++b) panel.masks[b] = channel_mask(w, block + b);
      for (std::size_t slab = 0; slab < k_blocks.slabs(); slab += panel.k.slabs) {
        panel.k = k_blocks.at(slab);
        panel.last = slab + panel.k.slabs == k_blocks.slabs();
        for (std::size_t b = 0; b < blocks; ++b) {
          if (zero_point) {
            unpack_block<true>(w, block + b, panel.k, b, scratch);
          } else {
            unpack_block<false>(w, block + b, panel.k, b, scratch);
          }
        }
        negative_sums(args.x, token, tokens, k_blocks.slabs(), panel.k, kPanelOffset,
                      scratch.start);
        multiply_panel(args, panel, blocks, block * kBlockRows, token, tokens, scratch.start,
                       scratch.carry);
        if (!panel.k.unfinished) panel.first = false;
      }
    }
  }
}

// kTokens tokens against one block, the nibbles multiplied as they are stored. The high nibbles
// stay where they are, which makes their sum 16 times too large: u <= 240 still fits the
// unsigned operand, and the sum is shifted back once per group, exactly.
template <std::size_t kTokens, bool kZeroPoint>
void multiply_direct(const IntegerGemmArgs& args, std::size_t block, std::size_t token) {
  const PackedWeights& w = args.w;
  const std::size_t slabs_of_row = slab_count(w.cols);
  const KBlocks groups_of_row(w.cols, w.group_width, slabs_of_row);
  const std::size_t group_slabs = groups_of_row.at(0).group_slabs;
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const __m512i low_nibbles = _mm512_set1_epi8(0x0F);
  const __m512i high_nibbles = _mm512_set1_epi8(static_cast<char>(0xF0));
  const __m512i ones = _mm512_set1_epi8(1);
  const std::uint8_t* codes = w.codes + block * slabs_of_row * kSlabBytes4;
  const std::int8_t* x = args.x.codes + token * args.x.stride;
  const std::int16_t* pairs = args.x.pair_sums + token * slabs_of_row * 2;
  __m512 y[kTokens];
#pragma GCC unroll 4
  for (std::size_t t = 0; t < kTokens; ++t) y[t] = _mm512_setzero_ps();
  std::size_t slabs_left = slabs_of_row;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t at = block * groups + g;
    const std::size_t slabs = slabs_left < group_slabs ? slabs_left : group_slabs;
    slabs_left -= slabs;
    __m512i low_sum[kTokens];
    __m512i high_sum[kTokens];
    __m512i x_sum[kTokens];
    __m512i low_weights = _mm512_setzero_si512();
    __m512i high_weights = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kTokens; ++t) {
      low_sum[t] = _mm512_setzero_si512();
      high_sum[t] = _mm512_setzero_si512();
      x_sum[t] = _mm512_setzero_si512();
    }
    for (std::size_t slab = 0; slab < slabs; ++slab) {
#pragma GCC unroll 4
      for (std::size_t t = 0; t < kTokens; ++t) {
        std::int32_t pair;
        __builtin_memcpy(&pair, pairs + t * slabs_of_row * 2, sizeof(pair));
        x_sum[t] = _mm512_dpwssd_epi32(x_sum[t], _mm512_set1_epi32(pair), _mm512_set1_epi16(1));
      }
#pragma GCC unroll 4
      for (std::size_t j = 0; j < 4; ++j) {
        const __m512i packed = _mm512_loadu_si512(codes + j * kQuadBytes);
        _mm_prefetch(reinterpret_cast<const char*>(codes + j * kQuadBytes + kPrefetchBytes),
                     _MM_HINT_T0);
        const __m512i low = _mm512_and_si512(packed, low_nibbles);
        const __m512i high = _mm512_and_si512(packed, high_nibbles);
#pragma GCC unroll 4
        for (std::size_t t = 0; t < kTokens; ++t) {
          const std::int8_t* quad = x + t * args.x.stride + j * 4;
          low_sum[t] = _mm512_dpbusd_epi32(low_sum[t], low, broadcast_quad(quad));
          high_sum[t] = _mm512_dpbusd_epi32(high_sum[t], high, broadcast_quad(quad + 16));
        }
        if constexpr (kZeroPoint) {
          low_weights = _mm512_dpbusd_epi32(low_weights, low, ones);
          high_weights = _mm512_dpbusd_epi32(high_weights, high, ones);
        }
      }
      codes += kSlabBytes4;
      x += kSlabCols;
      pairs += 2;
    }
    const __m512i zeros = load_zeros(w, at);
    const __m512 scale = load_scales(w.scales, w.scale_type, at * kBlockRows);
    // sum of code - zero, for activations with a zero point
    const __m512i weight_sum = _mm512_sub_epi32(
        _mm512_add_epi32(low_weights, _mm512_srai_epi32(high_weights, 4)),
        _mm512_mullo_epi32(zeros, _mm512_set1_epi32(static_cast<std::int32_t>(slabs * kSlabCols))));
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kTokens; ++t) {
      __m512i sum = _mm512_add_epi32(low_sum[t], _mm512_srai_epi32(high_sum[t], 4));
      sum = _mm512_sub_epi32(sum, _mm512_mullo_epi32(zeros, x_sum[t]));
      if constexpr (kZeroPoint) {
        sum = _mm512_sub_epi32(
            sum, _mm512_mullo_epi32(weight_sum, _mm512_set1_epi32(args.x.zero_points[token + t])));
      }
      y[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, y[t]);
    }
  }
  const __mmask16 mask = channel_mask(w, block);
  const std::size_t channel = block * kBlockRows;
#pragma GCC unroll 4
  for (std::size_t t = 0; t < kTokens; ++t) {
    __m512 value = _mm512_mul_ps(y[t], _mm512_set1_ps(args.x.scales[token + t]));
    if (args.bias != nullptr) {
      value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, args.bias + channel));
    }
    _mm512_mask_storeu_ps(args.y + (token + t) * args.y_stride + channel, mask, value);
  }
}

using MultiplyDirectFn = void (*)(const IntegerGemmArgs& args, std::size_t block,
                                  std::size_t token);

template <bool kZeroPoint>
void multiply_few(const IntegerGemmArgs& args) {
  static constexpr MultiplyDirectFn kFunctions[kDirectTile] = {
      multiply_direct<1, kZeroPoint>, multiply_direct<2, kZeroPoint>,
      multiply_direct<3, kZeroPoint>, multiply_direct<4, kZeroPoint>};
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

void w4a8_gemm_avx512vnni(const IntegerGemmArgs& args) {
  if (args.x.rows == 0) return;
  if (args.x.rows > kDirectTokens) return multiply_unpacked(args);
  if (args.x.zero_points != nullptr) return multiply_few<true>(args);
  return multiply_few<false>(args);
}

}  // namespace fptq::kernels
