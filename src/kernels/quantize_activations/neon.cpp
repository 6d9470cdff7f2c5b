// NEON variant.

#include <arm_neon.h>

#include "kernels/quantize_activations/contract.h"
#include "kernels/quantize_activations/row_grid.h"

namespace fptq::kernels {
namespace {

// 4 values from k on, zeros past cols.
float32x4_t load_values(const float* x, std::size_t k, std::size_t cols) {
  if (k + 4 <= cols) return vld1q_f32(x + k);
  float values[4] = {};
  for (std::size_t i = 0; k + i < cols; ++i) values[i] = x[k + i];
  return vld1q_f32(values);
}

RowGrid scan_row(const ActivationGrid& grid, const float* x, std::size_t cols) {
  uint32x4_t bits = vdupq_n_u32(0);
  float32x4_t smallest = vdupq_n_f32(0.0f);
  float32x4_t largest = vdupq_n_f32(0.0f);
  for (std::size_t k = 0; k < cols; k += 4) {
    const float32x4_t v = load_values(x, k, cols);
    bits = vmaxq_u32(bits, vandq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(0x7FFFFFFFU)));
    smallest = vminq_f32(smallest, v);
    largest = vmaxq_f32(largest, v);
  }
  return row_grid(grid, vmaxvq_u32(bits), vminvq_f32(smallest), vmaxvq_f32(largest));
}

// 4 codes in 32-bit lanes: clamp(rint(x * inverse) + zero_point).
int32x4_t quantize(float32x4_t x, const RowGrid& grid) {
  const float32x4_t rounded = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(grid.inverse)));
  float32x4_t code = vaddq_f32(rounded, vdupq_n_f32(static_cast<float>(grid.zero_point)));
  code = vmaxq_f32(code, vdupq_n_f32(static_cast<float>(grid.lowest)));
  code = vminq_f32(code, vdupq_n_f32(127.0f));
  return vcvtnq_s32_f32(code);
}

// 16 codes from k on; 0 past cols, where the grid alone would give the zero point.
int8x16_t quantize_half_slab(const float* x, std::size_t k, std::size_t cols, const RowGrid& grid) {
  const int16x8_t low = vcombine_s16(vmovn_s32(quantize(load_values(x, k, cols), grid)),
                                     vmovn_s32(quantize(load_values(x, k + 4, cols), grid)));
  const int16x8_t high = vcombine_s16(vmovn_s32(quantize(load_values(x, k + 8, cols), grid)),
                                      vmovn_s32(quantize(load_values(x, k + 12, cols), grid)));
  const int8x16_t codes = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
  if (k + 16 <= cols) return codes;
  static constexpr std::int8_t kLanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto inputs = static_cast<std::int8_t>(k < cols ? cols - k : 0);
  return vandq_s8(codes, vreinterpretq_s8_u8(vcltq_s8(vld1q_s8(kLanes), vdupq_n_s8(inputs))));
}

void write_slab(const float* x, std::size_t k, std::size_t cols, const RowGrid& grid,
                std::int8_t* codes, std::int16_t* sums) {
  int16x8_t pairs = vdupq_n_s16(0);
  for (std::size_t half = 0; half < 2; ++half) {
    const int8x16_t half_codes = quantize_half_slab(x, k + half * 16, cols, grid);
    vst1q_s8(codes + half * 16, half_codes);
    pairs = vpadalq_s8(pairs, half_codes);
  }
  // Even lanes sum the inputs with k % 4 < 2, odd lanes the others.
  sums[0] = vaddvq_s16(vuzp1q_s16(pairs, vdupq_n_s16(0)));
  sums[1] = vaddvq_s16(vuzp2q_s16(pairs, vdupq_n_s16(0)));
}

}  // namespace

void quantize_activations_neon(const QuantizeActivationsArgs& args) {
  quantize_rows(args, scan_row, write_slab);
}

}  // namespace fptq::kernels
