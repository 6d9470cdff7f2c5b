// quadratic_form, written once over Vec. Included by each variant after its vec_<isa>.h.

#pragma once

#include "kernels/quadratic_form/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// Rows that share what is loaded of h, and vectors of 16 columns: their sums t and the lanes of y
// stay in registers.
inline constexpr bool kWide = Vec::kLanes == kVirtualLanes;
inline constexpr std::size_t kTileRows = kWide ? 8 : 3;
inline constexpr std::size_t kTileVectors = kWide ? 2 : 1;

inline F32x16 set16(float value) {
  F32x16 result;
  for (Vec& part : result.part) part = vec_set(value);
  return result;
}

// At most 16 elements.
inline F32x16 load16_at_most(const float* p, std::size_t count) {
  if (count >= kVirtualLanes) return load16<ElementType::kF32>(p);
  return load16_partial<ElementType::kF32>(p, count);
}

// Adds columns [col, col + 16 kVectors) of kRows rows to their lanes; the matrix may end in them.
template <std::size_t kRows, std::size_t kVectors>
inline void add_columns(const QuadraticFormArgs& args, std::size_t row, std::size_t col,
                        F32x16 (&lanes)[kRows]) {
  F32x16 t[kRows][kVectors];
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) t[r][v] = f32x16_zero();
  }
  const float* left = args.left + row * args.left_stride;
  const float* h = args.h + col;
  const std::size_t count = args.cols - col;
  for (std::size_t i = 0; i < args.depth; ++i) {
    F32x16 values[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) {
      values[v] = load16_at_most(h + v * kVirtualLanes, count - v * kVirtualLanes);
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const F32x16 factor = set16(left[r * args.left_stride + i]);
      for (std::size_t v = 0; v < kVectors; ++v) t[r][v] = fma16(factor, values[v], t[r][v]);
    }
    h += args.h_stride;
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    const float* right = args.right + (row + r) * args.right_stride + col;
    for (std::size_t v = 0; v < kVectors; ++v) {
      lanes[r] = fma16(load16_at_most(right + v * kVirtualLanes, count - v * kVirtualLanes),
                       t[r][v], lanes[r]);
    }
  }
}

template <std::size_t kRows>
inline void reduce_rows(const QuadraticFormArgs& args, std::size_t row) {
  F32x16 lanes[kRows];
  for (F32x16& lane : lanes) lane = f32x16_zero();
  std::size_t col = 0;
  for (; col + kTileVectors * kVirtualLanes <= args.cols; col += kTileVectors * kVirtualLanes) {
    add_columns<kRows, kTileVectors>(args, row, col, lanes);
  }
  for (; col < args.cols; col += kVirtualLanes) add_columns<kRows, 1>(args, row, col, lanes);
  for (std::size_t r = 0; r < kRows; ++r) args.y[row + r] = reduce_add16(lanes[r]);
}

void quadratic_form_body(const QuadraticFormArgs& args) {
  std::size_t row = 0;
  for (; row + kTileRows <= args.rows; row += kTileRows) reduce_rows<kTileRows>(args, row);
  for (; row < args.rows; ++row) reduce_rows<1>(args, row);
}

}  // namespace
}  // namespace fptq::kernels
