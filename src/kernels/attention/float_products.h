// Products of attention with stored keys and values that are floats. Include a vec_<isa>.h before
// it.
//
// Both products of a chunk, scores = Q * K^T and o = E * V, are sums of outer products: a value of
// the left operand is broadcast and multiplies consecutive elements of the right one, kTileRows
// queries at a time, so that a stored element is loaded and widened once per tile.

#pragma once

#include <cstddef>

#include "kernels/attention/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// Queries that share the registers of a product.
inline constexpr std::size_t kTileRows = 6;
// Vecs of a tile's row: kTileRows * kTileVecs sums stay in registers.
inline constexpr std::size_t kTileVecs = Vec::kLanes == 16 && Vec::kRegisters == 32 ? 4 : kParts;

static_assert(kAttentionRows % kTileRows == 0);

// The positions of a chunk that a query sees: [begin, end), empty where begin >= end.
struct Range {
  std::size_t begin;
  std::size_t end;

  [[nodiscard]] bool empty() const { return begin >= end; }
};

// sums[r, :] = sum over i in range of left[r][i] * right[i, :], for kRows rows and kVecs Vecs of
// columns; added to what is there if `onto` is set.
template <ElementType kType, std::size_t kRows, std::size_t kVecs>
void add_products(const float* const* left, const void* right, std::size_t right_stride,
                  Range range, bool onto, float* sums, std::size_t sums_stride) {
  Vec sum[kRows][kVecs];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kVecs; ++c) {
      sum[r][c] = onto ? load_f32(sums + r * sums_stride + c * Vec::kLanes) : vec_zero();
    }
  }
  for (std::size_t i = range.begin; i < range.end; ++i) {
    Vec row[kVecs];
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kVecs; ++c) {
      const void* at = advance<kType>(right, i * right_stride + c * Vec::kLanes);
      prefetch(static_cast<const char*>(at) + kPrefetchBytes);
      row[c] = load_as<kType>(at);
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vec value = vec_set(left[r][i]);
#pragma GCC unroll 4
      for (std::size_t c = 0; c < kVecs; ++c) sum[r][c] = fma(value, row[c], sum[r][c]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kVecs; ++c) {
      store_f32(sums + r * sums_stride + c * Vec::kLanes, sum[r][c]);
    }
  }
}

// The same for any number of columns that is a multiple of 16.
template <ElementType kType, std::size_t kRows>
void add_products_wide(const float* const* left, const void* right, std::size_t columns,
                       Range range, bool onto, float* sums, std::size_t sums_stride) {
  std::size_t c = 0;
  for (; c + kTileVecs * Vec::kLanes <= columns; c += kTileVecs * Vec::kLanes) {
    add_products<kType, kRows, kTileVecs>(left, advance<kType>(right, c), columns, range, onto,
                                          sums + c, sums_stride);
  }
  for (; c < columns; c += kVirtualLanes) {
    add_products<kType, kRows, kParts>(left, advance<kType>(right, c), columns, range, onto,
                                       sums + c, sums_stride);
  }
}

// scores[r, p] = sum over d of q[r][d] * keys[d, p], for the 64 positions of a block.
template <ElementType kType, std::size_t kRows>
void score_block(const float* const* q, const void* keys, std::size_t head_dim, float* scores) {
  add_products_wide<kType, kRows>(q, keys, kAttentionBlock, {0, head_dim}, false, scores,
                                  kAttentionChunk);
}

// o[r, :] = sum over j in range[r] of weights[r][j] * values[j, :]. Rows that see the same
// positions go together; what only some of them see (at the diagonal, and where a window begins)
// follows row by row, because a value that a row does not see may be infinite or NaN.
template <ElementType kType, std::size_t kRows>
void weigh_values(const float* const* weights, const void* values, std::size_t width,
                  const Range* range, float* o, std::size_t o_stride) {
  Range common = range[0];
  bool together = true;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    together = together && range[r].begin == common.begin;
    if (range[r].end < common.end) common.end = range[r].end;
  }
  together = together && !common.empty();
  if (together) {
    add_products_wide<kType, kRows>(weights, values, width, common, false, o, o_stride);
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    Range rest = range[r];
    if (together) rest.begin = common.end;
    if (rest.empty()) continue;
    add_products_wide<kType, 1>(weights + r, values, width, rest, together, o + r * o_stride,
                                o_stride);
  }
}

}  // namespace
}  // namespace fptq::kernels
