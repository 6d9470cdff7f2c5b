// AMX variant: numbers are cut into two digits, q = 128 h + l, and 16 x 16 tiles add up the four
// products of digits over 64 of k at a time.
//
//   for a block of rows           digits of a in scratch, in L2
//     for 16 channels             digits of b in scratch
//       for 16 rows               h h, h l, l h and l l of a tile in four tile registers

#include <cstddef>
#include <cstdint>

#include "kernels/fixed_gemm/contract.h"
#include "kernels/simd/amx_tiles.h"
#include "kernels/simd/avx512_intrinsics.h"

namespace fptq::kernels {
namespace {

constexpr std::size_t kSide = 16;                   // rows and columns of a tile register
constexpr std::size_t kTileBytes = kSide * 64;      // of digits: 16 x 64 of one kind
constexpr std::size_t kStepBytes = 2 * kTileBytes;  // high digits, then low ones, of 64 of k
constexpr std::size_t kStepWords = 32;
static_assert(kStepWords == kFixedWords && kSide == kFixedChannels);

struct Digits {
  __m512i high;
  __m512i low;
};

// 16-bit digits of 32 numbers: h = (q + 64) >> 7, l = q - 128 h, both from -64 to 63.
inline Digits digits_of(__m512i numbers) {
  const __m512i raised = _mm512_add_epi16(numbers, _mm512_set1_epi16(64));
  const __m512i low = _mm512_and_si512(raised, _mm512_set1_epi16(127));
  return {_mm512_srai_epi16(raised, 7), _mm512_sub_epi16(low, _mm512_set1_epi16(64))};
}

// Rows of words after which one is asked for: they are too far apart for the processor to guess.
constexpr std::size_t kPrefetchRows = 16;

// Four numbers of each of 16 channels, from two rows of words: byte 4 c + i is channel c.
inline Digits quads_of(const std::int32_t* first, std::size_t stride) {
  const std::int32_t* second = first + stride;
  _mm_prefetch(reinterpret_cast<const char*>(first + kPrefetchRows * stride), _MM_HINT_T0);
  _mm_prefetch(reinterpret_cast<const char*>(second + kPrefetchRows * stride), _MM_HINT_T0);
  const Digits a = digits_of(_mm512_loadu_si512(first));
  const Digits b = digits_of(_mm512_loadu_si512(second));
  // Packing puts four channels' first pairs before their second ones.
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  return {_mm512_shuffle_epi8(_mm512_packs_epi16(a.high, b.high), order),
          _mm512_shuffle_epi8(_mm512_packs_epi16(a.low, b.low), order)};
}

// Transposes 16 x 16 words.
void transpose(__m512i* r) {
  __m512i t[kSide];
  for (std::size_t i = 0; i < kSide; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (std::size_t i = 0; i < kSide; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// Digits of 16 channels as the second operand of a product.  out [words / 32, 2, 16, 64]
void cut_channels(const std::int32_t* b, std::size_t stride, std::size_t words, std::uint8_t* out) {
  for (std::size_t w = 0; w < words; w += 2) {
    const Digits quads = quads_of(b + w * stride, stride);
    std::uint8_t* row = out + w / kStepWords * kStepBytes + w % kStepWords / 2 * 64;
    _mm512_store_si512(row, quads.high);
    _mm512_store_si512(row + kTileBytes, quads.low);
  }
}

// Digits of 16 rows as the first operand, of words that are neighbours.  The same shape.
void cut_rows(const std::int32_t* a, std::size_t stride, std::size_t rows, std::size_t words,
              std::uint8_t* out) {
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  for (std::size_t r = 0; r < kSide; ++r) {
    const std::int32_t* row = a + (r < rows ? r : rows - 1) * stride;
    std::uint8_t* to = out + r * 64;
    for (std::size_t w = 0; w < words; w += kStepWords, to += kStepBytes) {
      const Digits x = digits_of(_mm512_loadu_si512(row + w));
      const Digits y = digits_of(_mm512_loadu_si512(row + w + 16));
      _mm512_store_si512(to, _mm512_permutexvar_epi64(order, _mm512_packs_epi16(x.high, y.high)));
      _mm512_store_si512(to + kTileBytes,
                         _mm512_permutexvar_epi64(order, _mm512_packs_epi16(x.low, y.low)));
    }
  }
}

// The same, of words that are neighbours in i.
void cut_columns(const std::int32_t* a, std::size_t stride, std::size_t words, std::uint8_t* out) {
  for (std::size_t w = 0; w < words; w += kStepWords, out += kStepBytes) {
    __m512i high[kSide];
    __m512i low[kSide];
    for (std::size_t q = 0; q < kSide; ++q) {
      const Digits quads = quads_of(a + (w + 2 * q) * stride, stride);
      high[q] = quads.high;
      low[q] = quads.low;
    }
    transpose(high);
    transpose(low);
    for (std::size_t r = 0; r < kSide; ++r) {
      _mm512_store_si512(out + r * 64, high[r]);
      _mm512_store_si512(out + kTileBytes + r * 64, low[r]);
    }
  }
}

// 16384 high + low, rounded once.
inline __m512 rounded(__m512i high, __m512i low) {
  const __m512d base = _mm512_set1_pd(16384.0);
  const auto half = [&](__m256i h, __m256i l) {
    return _mm512_cvtpd_ps(_mm512_fmadd_pd(_mm512_cvtepi32_pd(h), base, _mm512_cvtepi32_pd(l)));
  };
  const __m256 first = half(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low));
  const __m256 second = half(_mm512_extracti64x4_epi64(high, 1), _mm512_extracti64x4_epi64(low, 1));
  return _mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1);
}

inline std::size_t at_most(std::size_t value, std::size_t limit) {
  return value < limit ? value : limit;
}

// A tile whose sums have been stored and wait to be written to y.
struct Finished {
  const std::int32_t* sums = nullptr;  // [4, 16, 16] of high high, high low, low high, low low
  std::size_t i = 0;                   // the first of its rows in y
  std::size_t rows = 0;
  std::size_t j = 0;  // and of its channels
  std::size_t channels = 0;
};

// Rows [begin, end) of a tile.
void write_rows(const FixedGemmArgs& args, const Finished& tile, std::size_t begin,
                std::size_t end) {
  const auto mask = static_cast<__mmask16>((1U << tile.channels) - 1);
  const __m512 b_scale = _mm512_maskz_loadu_ps(mask, args.b_scale + tile.j);
  const __m512i digit = _mm512_set1_epi32(127);
  for (std::size_t r = begin; r < end; ++r) {
    const std::int32_t* row = tile.sums + r * kSide;
    const __m512i last = _mm512_load_si512(row + 768);
    // Carries: what is left below 128 and below 16384.
    const __m512i middle = _mm512_add_epi32(
        _mm512_add_epi32(_mm512_load_si512(row + 256), _mm512_load_si512(row + 512)),
        _mm512_srai_epi32(last, 7));
    const __m512i high = _mm512_add_epi32(_mm512_load_si512(row), _mm512_srai_epi32(middle, 7));
    const __m512i low = _mm512_add_epi32(_mm512_slli_epi32(_mm512_and_si512(middle, digit), 7),
                                         _mm512_and_si512(last, digit));
    const __m512 scaled = _mm512_mul_ps(
        _mm512_mul_ps(rounded(high, low), _mm512_set1_ps(args.a_scale[tile.i + r])), b_scale);
    float* y = args.y + (tile.i + r) * args.y_stride + tile.j;
    if (args.accumulate) {
      _mm512_mask_storeu_ps(y, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), scaled));
    } else {
      _mm512_mask_storeu_ps(y, mask, scaled);
    }
  }
}

// sums [4, 16, 16] of a tile. Meanwhile the vector units write the tile before it.
void multiply_tile(const FixedGemmArgs& args, const std::uint8_t* a, const std::uint8_t* b,
                   std::size_t steps, const Finished& before, std::int32_t* sums) {
  zero_tile<0>();
  zero_tile<1>();
  zero_tile<2>();
  zero_tile<3>();
  const std::size_t rows_a_step = (before.rows + steps - 1) / steps;
  std::size_t written = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    load_tile<4>(a, kTileRegisterBytes);
    load_tile<6>(b, kTileRegisterBytes);
    add_signed_products<0, 4, 6>();
    load_tile<7>(b + kTileBytes, kTileRegisterBytes);
    add_signed_products<1, 4, 7>();
    load_tile<5>(a + kTileBytes, kTileRegisterBytes);
    add_signed_products<2, 5, 6>();
    add_signed_products<3, 5, 7>();
    a += kStepBytes;
    b += kStepBytes;
    const std::size_t end = at_most(before.rows, written + rows_a_step);
    write_rows(args, before, written, end);
    written = end;
  }
  store_tile<0>(sums);
  store_tile<1>(sums + 256);
  store_tile<2>(sums + 512);
  store_tile<3>(sums + 768);
}

}  // namespace

void fixed_gemm_amx(const FixedGemmArgs& args) {
  shape_tiles(TileShapes());
  const std::size_t steps = args.words / kStepWords;
  const std::size_t panel_bytes = steps * kStepBytes;
  std::size_t panels = panel_bytes > 0 ? kFixedDigitBytes / panel_bytes : 1;
  if (panels == 0) panels = 1;
  auto* b_digits = static_cast<std::uint8_t*>(args.scratch);
  std::uint8_t* a_digits = b_digits + panel_bytes;
  alignas(64) std::int32_t sums[2][4 * kSide * kSide];
  std::size_t tiles = 0;
  Finished before;
  for (std::size_t first = 0; first < args.m; first += panels * kSide) {
    const std::size_t end = at_most(args.m, first + panels * kSide);
    for (std::size_t i = first; i < end; i += kSide) {
      std::uint8_t* out = a_digits + (i - first) / kSide * panel_bytes;
      const std::int32_t* a = args.a + i * args.a_row_stride;
      if (args.a_word_stride == 1) {
        cut_rows(a, args.a_row_stride, at_most(end - i, kSide), args.words, out);
      } else {
        cut_columns(a, args.a_word_stride, args.words, out);
      }
    }
    for (std::size_t j = 0; j < args.n; j += kSide) {
      cut_channels(args.b + j, args.b_stride, args.words, b_digits);
      for (std::size_t i = first; i < end; i += kSide) {
        std::int32_t* tile = sums[tiles++ % 2];
        multiply_tile(args, a_digits + (i - first) / kSide * panel_bytes, b_digits, steps, before,
                      tile);
        before = {tile, i, at_most(end - i, kSide), j, at_most(args.n - j, kSide)};
      }
    }
  }
  write_rows(args, before, 0, before.rows);
  release_tiles();
}

}  // namespace fptq::kernels
