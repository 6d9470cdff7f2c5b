// double_gemm, written once over Doubles. Included by each variant after its Doubles:
//
//   Doubles::kLanes               doubles in one
//   Doubles::kTileVectors         vectors of columns in a tile, kTileRows rows; so many sums,
//   Doubles::kTileRows            kTileVectors of b and one of a are held in registers
//   load(p), store(p, a)          kLanes doubles at p
//   broadcast(x)                  x in every lane
//   subtract_product(c, a, b)     c - a * b, rounded once
//
//   for kBlockK of k
//     for a tile of columns       b tile [kBlockK, kTileColumns] in scratch, in L1
//       for kTileRows of rows     c in registers

#pragma once

#include <cstdint>

#include "kernels/double_gemm/contract.h"

namespace fptq::kernels {
namespace {

inline constexpr std::size_t kBlockK = 256;
inline constexpr std::size_t kTileColumns = Doubles::kLanes * Doubles::kTileVectors;
inline constexpr std::size_t kLineDoubles = 8;

static_assert(kBlockK * kTileColumns + kLineDoubles <= kDoubleGemmScratchDoubles);

// tile[k, j] = b[k, j] for j < columns, 0 for the rest of the tile.
inline void copy_tile(const double* b, std::size_t stride, std::size_t depth, std::size_t columns,
                      double* tile) {
  for (std::size_t k = 0; k < depth; ++k) {
    double* out = tile + k * kTileColumns;
    const double* row = b + k * stride;
    if (columns == kTileColumns) {
      for (std::size_t v = 0; v < Doubles::kTileVectors; ++v) {
        store(out + v * Doubles::kLanes, load(row + v * Doubles::kLanes));
      }
      continue;
    }
    for (std::size_t j = 0; j < kTileColumns; ++j) out[j] = j < columns ? row[j] : 0.0;
  }
}

// c[r, :] -= sum_k a[r, k] * tile[k, :] for kRows rows of a whole tile.
template <std::size_t kRows>
void multiply_tile(const double* a, std::size_t a_stride, const double* tile, std::size_t depth,
                   double* c, std::size_t c_stride) {
  constexpr std::size_t kVectors = Doubles::kTileVectors;
  Doubles sum[kRows][kVectors];
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sum[r][v] = load(c + r * c_stride + v * Doubles::kLanes);
    }
  }
  for (std::size_t k = 0; k < depth; ++k) {
    Doubles bs[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) {
      bs[v] = load(tile + k * kTileColumns + v * Doubles::kLanes);
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const Doubles as = broadcast(a[r * a_stride + k]);
      for (std::size_t v = 0; v < kVectors; ++v) {
        sum[r][v] = subtract_product(sum[r][v], as, bs[v]);
      }
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      store(c + r * c_stride + v * Doubles::kLanes, sum[r][v]);
    }
  }
}

// The same for `columns` <= kTileColumns of the tile: the missing ones are multiplied in a copy.
template <std::size_t kRows>
void multiply_columns(const double* a, std::size_t a_stride, const double* tile, std::size_t depth,
                      std::size_t columns, double* c, std::size_t c_stride) {
  if (columns == kTileColumns) {
    return multiply_tile<kRows>(a, a_stride, tile, depth, c, c_stride);
  }
  double copy[kRows * kTileColumns] = {};
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t j = 0; j < columns; ++j) copy[r * kTileColumns + j] = c[r * c_stride + j];
  }
  multiply_tile<kRows>(a, a_stride, tile, depth, copy, kTileColumns);
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t j = 0; j < columns; ++j) c[r * c_stride + j] = copy[r * kTileColumns + j];
  }
}

void double_gemm_body(const DoubleGemmArgs& args) {
  const std::uintptr_t misalignment =
      reinterpret_cast<std::uintptr_t>(args.scratch) / sizeof(double) % kLineDoubles;
  double* tile = args.scratch + (kLineDoubles - misalignment) % kLineDoubles;
  for (std::size_t k = 0; k < args.k; k += kBlockK) {
    const std::size_t depth = args.k - k < kBlockK ? args.k - k : kBlockK;
    for (std::size_t j = 0; j < args.n; j += kTileColumns) {
      const std::size_t columns = args.n - j < kTileColumns ? args.n - j : kTileColumns;
      copy_tile(args.b + k * args.b_stride + j, args.b_stride, depth, columns, tile);
      const double* a = args.a + k;
      double* c = args.c + j;
      std::size_t i = 0;
      for (; i + Doubles::kTileRows <= args.m; i += Doubles::kTileRows) {
        multiply_columns<Doubles::kTileRows>(a + i * args.a_stride, args.a_stride, tile, depth,
                                             columns, c + i * args.c_stride, args.c_stride);
      }
      for (; i < args.m; ++i) {
        multiply_columns<1>(a + i * args.a_stride, args.a_stride, tile, depth, columns,
                            c + i * args.c_stride, args.c_stride);
      }
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
