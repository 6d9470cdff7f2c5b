// nf4a16_gemm, written once over Vec and its lookup. Included by each variant after its
// lookup_<isa>.h.
//
// Few tokens (decode) look codes up straight into the products, a few rows side by side. Many
// tokens (prefill) unpack w tile by tile (dense_gemm/panels.h). The block's table is multiplied by
// its constant before the lookup, so that a weight costs no product of its own.

#pragma once

#include "kernels/dense_gemm/panels.h"
#include "kernels/nf4a16_gemm/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// Tokens up to which looking up again and again is cheaper than a panel.
inline constexpr std::size_t kFewTokens = 4;
inline constexpr std::size_t kPrefetchBytes = 512;
// Chunks of 16 weights that one constant serves where blocks and rows allow it.
inline constexpr std::size_t kChunks = 4;

static_assert(kPanelScratchFloats <= kNf4a16GemmScratchFloats);

inline std::size_t block_of(const Nf4a16GemmArgs& args, std::size_t element) {
  return element >> __builtin_ctzll(args.block_size);
}

// y[i0 + t, j0 + r * step] of kTokens tokens and kRows rows. The width is a multiple of
// 16 * kConstant, and no block ends within as many weights.
template <std::size_t kTokens, std::size_t kRows, std::size_t kConstant>
void multiply_codes(const Nf4a16GemmArgs& args, std::size_t i0, std::size_t j0, std::size_t step) {
  const float* x = args.x + i0 * args.x_stride;
  const std::size_t first = (args.row_begin + j0) * args.k;
  const std::size_t row_elements = step * args.k;
  F32x16 sum[kTokens][kRows];
  for (auto& token : sum) {
    for (F32x16& s : token) s = f32x16_zero();
  }
  for (std::size_t k = 0; k < args.k; k += kVirtualLanes * kConstant) {
    F32x16 xs[kTokens][kConstant];
    for (std::size_t t = 0; t < kTokens; ++t) {
      for (std::size_t c = 0; c < kConstant; ++c) {
        const float* from = x + t * args.x_stride + k + c * kVirtualLanes;
        xs[t][c] = to_lookup_order(load16<ElementType::kF32>(from));
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::size_t element = first + r * row_elements + k;
      const std::uint8_t* codes = args.codes + element / 2;
      prefetch(codes + kPrefetchBytes);
      const ScaledTable table = scale_table(args.table, args.absmax[block_of(args, element)]);
      for (std::size_t c = 0; c < kConstant; ++c) {
        const F32x16 ws = lookup16(codes + c * kVirtualLanes / 2, table);
        for (std::size_t t = 0; t < kTokens; ++t) sum[t][r] = fma16(ws, xs[t][c], sum[t][r]);
      }
    }
  }
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t r = 0; r < kRows; ++r) {
      args.y[(i0 + t) * args.y_stride + j0 + r * step] = reduce_add16(from_lookup_order(sum[t][r]));
    }
  }
}

// Runs of rows are walked side by side, so that each is one long stream of bytes for the prefetcher
// and their sums hide each other's latency.
template <std::size_t kTokens, std::size_t kConstant>
void multiply_few(const Nf4a16GemmArgs& args) {
  constexpr std::size_t kRows = kTokens == 1 && Vec::kLanes > 4 ? 4 : 2;
  const std::size_t step = args.n / kRows;
  for (std::size_t j = 0; j < step; ++j) {
    multiply_codes<kTokens, kRows, kConstant>(args, 0, j, step);
  }
  for (std::size_t j = step * kRows; j < args.n; ++j) {
    multiply_codes<kTokens, 1, kConstant>(args, 0, j, 0);
  }
}

template <std::size_t kConstant>
void multiply_few_of(const Nf4a16GemmArgs& args) {
  static_assert(kFewTokens == 4);
  if (args.m == 1) return multiply_few<1, kConstant>(args);
  if (args.m == 2) return multiply_few<2, kConstant>(args);
  if (args.m == 3) return multiply_few<3, kConstant>(args);
  multiply_few<4, kConstant>(args);
}

// The rows of w as panels.h wants them.
struct TableRows {
  static constexpr bool kLoadsLanes = false;  // a row's chunks share a table

  const Nf4a16GemmArgs& args;

  void widen(std::size_t j, std::size_t channels, std::size_t k, std::size_t count,
             float* tile) const {
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t element = (args.row_begin + j + c) * args.k + k;
      if (args.k % kVirtualLanes == 0) {
        widen_chunks(element, count, tile + c * kTileStride);
      } else {
        widen_weights(element, count, tile + c * kTileStride);
      }
    }
  }

  // Elements and counts that are multiples of 16.
  void widen_chunks(std::size_t element, std::size_t count, float* out) const {
    for (std::size_t i = 0; i < count;) {
      const ScaledTable table = scale_table(args.table, args.absmax[block_of(args, element + i)]);
      const std::size_t rest = args.block_size - ((element + i) & (args.block_size - 1));
      const std::size_t end = i + at_most(rest, count - i);
      for (; i < end; i += kVirtualLanes) {
        store16(out + i, from_lookup_order(lookup16(args.codes + (element + i) / 2, table)));
      }
    }
  }

  void widen_weights(std::size_t element, std::size_t count, float* out) const {
    std::size_t i = 0;
    for (; i < count; ++i) {
      const std::size_t e = element + i;
      const unsigned byte = args.codes[e / 2];
      out[i] = args.table[e % 2 == 0 ? byte >> 4 : byte & 0xFU] * args.absmax[block_of(args, e)];
    }
    for (; i % kVirtualLanes != 0; ++i) out[i] = 0.0f;
  }

  void prefetch_row(std::size_t j, std::size_t k, std::size_t count) const {
    prefetch_bytes(args.codes + ((args.row_begin + j) * args.k + k) / 2, count / 2 + 1);
  }
};

void nf4a16_gemm_body(const Nf4a16GemmArgs& args) {
  const bool whole_chunks = args.k % kVirtualLanes == 0;
  if (args.m == 0) return;
  if (args.m <= kFewTokens && whole_chunks) {
    constexpr std::size_t kGroup = kVirtualLanes * kChunks;
    const bool one_constant = args.k % kGroup == 0 && args.block_size % kGroup == 0;
    if (one_constant) return multiply_few_of<kChunks>(args);
    return multiply_few_of<1>(args);
  }
  multiply_panels(panel_product(args), TableRows{args});
}

}  // namespace
}  // namespace fptq::kernels
