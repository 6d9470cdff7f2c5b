// AVX-512 variant.

#include "kernels/simd/avx512_intrinsics.h"
// The rest is written over what the line above defines.
#include "kernels/quantize_activations/contract.h"
#include "kernels/quantize_activations/row_grid.h"
#include "kernels/quantize_activations/slab_x86.h"

namespace fptq::kernels {
namespace {

// The lanes of 16 values from k on that are inputs.
__mmask16 input_lanes(std::size_t k, std::size_t cols) {
  if (k + 16 <= cols) return 0xFFFF;
  return k < cols ? static_cast<__mmask16>((1U << (cols - k)) - 1) : __mmask16{0};
}

RowGrid scan_row(const ActivationGrid& grid, const float* x, std::size_t cols) {
  // Several of each, because a maximum waits for the one before it.
  constexpr std::size_t kChains = 4;
  __m512i bits[kChains];
  __m512 smallest[kChains];
  __m512 largest[kChains];
  for (std::size_t i = 0; i < kChains; ++i) {
    bits[i] = _mm512_setzero_si512();
    smallest[i] = largest[i] = _mm512_setzero_ps();
  }
  const auto add = [&](std::size_t i, __m512 v) __attribute__((always_inline)) {
    const __m512i magnitude =
        _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7FFFFFFF));
    bits[i] = _mm512_max_epu32(bits[i], magnitude);
    smallest[i] = _mm512_min_ps(smallest[i], v);
    largest[i] = _mm512_max_ps(largest[i], v);
  };
  std::size_t k = 0;
  for (; k + 16 * kChains <= cols; k += 16 * kChains) {
    for (std::size_t i = 0; i < kChains; ++i) add(i, _mm512_loadu_ps(x + k + 16 * i));
  }
  for (; k < cols; k += 16) add(0, _mm512_maskz_loadu_ps(input_lanes(k, cols), x + k));
  for (std::size_t i = 1; i < kChains; ++i) {
    bits[0] = _mm512_max_epu32(bits[0], bits[i]);
    smallest[0] = _mm512_min_ps(smallest[0], smallest[i]);
    largest[0] = _mm512_max_ps(largest[0], largest[i]);
  }
  return row_grid(grid, _mm512_reduce_max_epu32(bits[0]), _mm512_reduce_min_ps(smallest[0]),
                  _mm512_reduce_max_ps(largest[0]));
}

// 16 codes in 32-bit lanes: clamp(rint(x * inverse) + zero_point), clamped before it is rounded to
// bounds that are integers.
__m512i quantize(__m512 x, const RowGrid& grid) {
  __m512 code = _mm512_mul_ps(x, _mm512_set1_ps(grid.inverse));
  code = _mm512_max_ps(code, _mm512_set1_ps(static_cast<float>(grid.lowest - grid.zero_point)));
  code = _mm512_min_ps(code, _mm512_set1_ps(static_cast<float>(127 - grid.zero_point)));
  return _mm512_add_epi32(_mm512_cvtps_epi32(code), _mm512_set1_epi32(grid.zero_point));
}

void write_slab(const float* x, std::size_t k, std::size_t cols, const RowGrid& grid,
                std::int8_t* codes, std::int16_t* sums) {
  const __m512 low = _mm512_maskz_loadu_ps(input_lanes(k, cols), x + k);
  const __m512 high = _mm512_maskz_loadu_ps(input_lanes(k + 16, cols), x + k + 16);
  __m256i slab = _mm256_set_m128i(_mm512_cvtepi32_epi8(quantize(high, grid)),
                                  _mm512_cvtepi32_epi8(quantize(low, grid)));
  // Past the row a zero quantizes to the zero point, but the contract wants 0.
  if (k + kSlabCols > cols) slab = _mm256_and_si256(slab, input_mask(cols - k));
  store_slab(slab, codes, sums);
}

}  // namespace

void quantize_activations_avx512vnni(const QuantizeActivationsArgs& args) {
  quantize_rows(args, scan_row, write_slab);
}

}  // namespace fptq::kernels
