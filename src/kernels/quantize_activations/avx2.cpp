// AVX2 variant.

#include <immintrin.h>

#include "kernels/quantize_activations/contract.h"
#include "kernels/quantize_activations/row_grid.h"
#include "kernels/quantize_activations/slab_x86.h"

namespace fptq::kernels {
namespace {

float horizontal_max(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

std::uint32_t horizontal_max_bits(__m256i v) {
  __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4E));
  return static_cast<std::uint32_t>(
      _mm_cvtsi128_si32(_mm_max_epu32(m, _mm_shuffle_epi32(m, 0xB1))));
}

// All ones in the first `count` of 8 lanes.
__m256i lane_mask(std::size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<std::int32_t>(count)), lanes);
}

// 8 values from k on, zeros past cols.
__m256 load_values(const float* x, std::size_t k, std::size_t cols) {
  if (k + 8 <= cols) return _mm256_loadu_ps(x + k);
  if (k >= cols) return _mm256_setzero_ps();
  return _mm256_maskload_ps(x + k, lane_mask(cols - k));
}

RowGrid scan_row(const ActivationGrid& grid, const float* x, std::size_t cols) {
  __m256i bits = _mm256_setzero_si256();
  __m256 smallest = _mm256_setzero_ps();
  __m256 largest = _mm256_setzero_ps();
  for (std::size_t k = 0; k < cols; k += 8) {
    const __m256 v = load_values(x, k, cols);
    const __m256i magnitude =
        _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7FFFFFFF));
    bits = _mm256_max_epu32(bits, magnitude);
    smallest = _mm256_min_ps(smallest, v);
    largest = _mm256_max_ps(largest, v);
  }
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return row_grid(grid, horizontal_max_bits(bits), -horizontal_max(_mm256_xor_ps(smallest, sign)),
                  horizontal_max(largest));
}

// 8 codes in 32-bit lanes: clamp(rint(x * inverse) + zero_point).
__m256i quantize(__m256 x, const RowGrid& grid) {
  const __m256 rounded = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(grid.inverse)),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 code = _mm256_add_ps(rounded, _mm256_set1_ps(static_cast<float>(grid.zero_point)));
  code = _mm256_max_ps(code, _mm256_set1_ps(static_cast<float>(grid.lowest)));
  code = _mm256_min_ps(code, _mm256_set1_ps(127.0f));
  return _mm256_cvtps_epi32(code);
}

__m256i quantize_slab(const float* x, std::size_t k, std::size_t cols, const RowGrid& grid) {
  const __m256i words0 = _mm256_packs_epi32(quantize(load_values(x, k, cols), grid),
                                            quantize(load_values(x, k + 8, cols), grid));
  const __m256i words1 = _mm256_packs_epi32(quantize(load_values(x, k + 16, cols), grid),
                                            quantize(load_values(x, k + 24, cols), grid));
  // The packs work within 128-bit halves: put the groups of 4 codes back in order.
  const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words0, words1),
                                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  // Past the row a zero quantizes to the zero point, but the contract wants 0.
  return k + kSlabCols <= cols ? codes : _mm256_and_si256(codes, input_mask(cols - k));
}

void write_slab(const float* x, std::size_t k, std::size_t cols, const RowGrid& grid,
                std::int8_t* codes, std::int16_t* sums) {
  store_slab(quantize_slab(x, k, cols, grid), codes, sums);
}

}  // namespace

void quantize_activations_avx2(const QuantizeActivationsArgs& args) {
  quantize_rows(args, scan_row, write_slab);
}

}  // namespace fptq::kernels
