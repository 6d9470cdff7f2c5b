// dense_gemm, written once over Vec. Included by each variant after its vec_<isa>.h.
//
// One token (decode) reads w once, as several streams side by side. More tokens (prefill) widen
// w tile by tile (panels.h).

#pragma once

#include "kernels/dense_gemm/contract.h"
#include "kernels/dense_gemm/panels.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// How far ahead of the multiplication decode asks for weights.
inline constexpr std::size_t kPrefetchBytes = 512;
inline constexpr std::size_t kDecodeRows = 4;

static_assert(kPanelScratchFloats <= kDenseGemmScratchFloats);

// Decode: output channels j0, j0 + step, ... of one token, straight from the checkpoint's bytes.
template <ElementType kType, std::size_t kRows>
void multiply_rows(const DenseGemmArgs& args, std::size_t j0, std::size_t step) {
  const float* x = args.x;
  const void* w = advance<kType>(args.w, j0 * args.w_stride);
  const std::size_t row_stride = step * args.w_stride;
  F32x16 sum[kRows];
  for (F32x16& s : sum) s = f32x16_zero();
  const std::size_t whole = args.k / kVirtualLanes * kVirtualLanes;
  for (std::size_t i = 0; i < whole; i += kVirtualLanes) {
    const F32x16 xs = load16<ElementType::kF32>(x + i);
    for (std::size_t r = 0; r < kRows; ++r) {
      const void* row = advance<kType>(w, r * row_stride + i);
      prefetch(static_cast<const unsigned char*>(row) + kPrefetchBytes);
      sum[r] = fma16(load16<kType>(row), xs, sum[r]);
    }
  }
  if (whole < args.k) {
    const std::size_t count = args.k - whole;
    const F32x16 xs = load16_partial<ElementType::kF32>(x + whole, count);
    for (std::size_t r = 0; r < kRows; ++r) {
      const void* row = advance<kType>(w, r * row_stride + whole);
      sum[r] = fma16(load16_partial<kType>(row, count), xs, sum[r]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) args.y[j0 + r * step] = reduce_add16(sum[r]);
}

// The channels are cut into kDecodeRows runs that are walked side by side, so that each is one
// long stream of bytes for the prefetcher and their sums hide each other's latency.
template <ElementType kType>
void decode(const DenseGemmArgs& args) {
  const std::size_t step = args.n / kDecodeRows;
  for (std::size_t j = 0; j < step; ++j) multiply_rows<kType, kDecodeRows>(args, j, step);
  for (std::size_t j = step * kDecodeRows; j < args.n; ++j) multiply_rows<kType, 1>(args, j, 0);
}

// Lanes of kTileN rows of w that are kept in a tile as they are loaded.
template <ElementType kType>
struct FillingTile {
  const void* rows;
  std::size_t stride;  // elements
  float* tile;

  [[nodiscard]] Vec load(std::size_t c, std::size_t i) const {
    const Vec lanes = load_as<kType>(advance<kType>(rows, c * stride + i));
    store_f32(tile + c * kTileStride + i, lanes);
    return lanes;
  }
};

// The rows of w as panels.h wants them.
template <ElementType kType>
struct DenseRows {
  static constexpr bool kLoadsLanes = true;

  const DenseGemmArgs& args;

  [[nodiscard]] const void* at(std::size_t j, std::size_t k) const {
    return advance<kType>(args.w, j * args.w_stride + k);
  }

  void widen(std::size_t j, std::size_t channels, std::size_t k, std::size_t count,
             float* tile) const {
    for (std::size_t c = 0; c < channels; ++c) {
      const void* row = at(j + c, k);
      float* out = tile + c * kTileStride;
      std::size_t i = 0;
      for (; i + kVirtualLanes <= count; i += kVirtualLanes) {
        store16(out + i, load16<kType>(advance<kType>(row, i)));
      }
      if (i < count) store16(out + i, load16_partial<kType>(advance<kType>(row, i), count - i));
    }
  }

  [[nodiscard]] FillingTile<kType> filling(std::size_t j, std::size_t k, std::size_t count,
                                           float* tile) const {
    const std::size_t whole = count / kVirtualLanes * kVirtualLanes;
    if (whole < count) widen(j, kTileN, k + whole, count - whole, tile + whole);
    return {at(j, k), args.w_stride, tile};
  }

  void prefetch_row(std::size_t j, std::size_t k, std::size_t count) const {
    prefetch_bytes(at(j, k), count * kElementBytes<kType>);
  }
};

template <ElementType kType>
void dense_gemm_of(const DenseGemmArgs& args) {
  if (args.m == 1) {
    decode<kType>(args);
  } else {
    multiply_panels(panel_product(args), DenseRows<kType>{args});
  }
}

void dense_gemm_body(const DenseGemmArgs& args) {
  if (args.w_type == ElementType::kF32) dense_gemm_of<ElementType::kF32>(args);
  if (args.w_type == ElementType::kBF16) dense_gemm_of<ElementType::kBF16>(args);
  if (args.w_type == ElementType::kF16) dense_gemm_of<ElementType::kF16>(args);
}

}  // namespace
}  // namespace fptq::kernels
