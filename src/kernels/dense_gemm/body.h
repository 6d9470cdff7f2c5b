// dense_gemm, written once over Vec. Included by each variant after its vec_<isa>.h.
//
// One token (decode) reads w once, as several streams side by side. More tokens (prefill) widen
// a tile of w to float32 in scratch, which every token of the block reuses:
//
//   for kBlockM tokens, for kBlockN channels
//     for kBlockK of k             x block in L2; partial sums wait in scratch, in L2
//       for kTileN channels        w tile [kTileN, kBlockK] as float32, in L1
//         for kTileM tokens        kTileM x kTileN sums in registers, one part of the lanes a pass

#pragma once

#include "kernels/dense_gemm/contract.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

inline constexpr std::size_t kTileM = Vec::kRegisters == 32 ? 4 : Vec::kRegisters == 16 ? 3 : 2;
inline constexpr std::size_t kTileN = Vec::kRegisters == 32 ? 6 : Vec::kRegisters == 16 ? 4 : 2;
inline constexpr std::size_t kBlockK = 640;  // 15 KiB of w and 10 KiB of x
// Floats between rows of the w tile: not a multiple of 4096 bytes, which would put all rows into
// the same sets of the L1 cache.
inline constexpr std::size_t kTileStride = kBlockK + 16;
inline constexpr std::size_t kBlockM = 96;
inline constexpr std::size_t kBlockN = 24;
// How far ahead of the multiplication decode asks for weights.
inline constexpr std::size_t kPrefetchBytes = 512;
inline constexpr std::size_t kDecodeRows = 4;

static_assert(kBlockM % kTileM == 0 && kBlockN % kTileN == 0);
static_assert(kTileN * kTileStride + kBlockM * kBlockN * kVirtualLanes + kVirtualLanes <=
              kDenseGemmScratchFloats);
static_assert(kBlockK % kVirtualLanes == 0);

inline std::size_t at_most(std::size_t value, std::size_t limit) {
  return value < limit ? value : limit;
}

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

// tile[c, 0..padded) = w[c, 0..count) as float32, zeros up to a multiple of 16.
template <ElementType kType>
void widen_rows(const void* w, std::size_t w_stride, std::size_t rows, std::size_t count,
                float* tile) {
  for (std::size_t c = 0; c < rows; ++c) {
    const void* row = advance<kType>(w, c * w_stride);
    float* out = tile + c * kTileStride;
    std::size_t i = 0;
    for (; i + kVirtualLanes <= count; i += kVirtualLanes) {
      store16(out + i, load16<kType>(advance<kType>(row, i)));
    }
    if (i < count) store16(out + i, load16_partial<kType>(advance<kType>(row, i), count - i));
  }
}

// sums[r, c, :] += the 16 partial sums of kRows tokens and kTileN channels over `count` of k;
// `first`: starts from zero instead.
template <std::size_t kRows>
void multiply_tile(const float* x, std::size_t x_stride, const float* tile, std::size_t count,
                   bool first, float* sums) {
  const std::size_t whole = count / kVirtualLanes * kVirtualLanes;
  for (std::size_t part = 0; part < kParts; ++part) {
    const std::size_t lane = part * Vec::kLanes;
    Vec sum[kRows][kTileN];
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t c = 0; c < kTileN; ++c) {
        sum[r][c] = first ? vec_zero() : load_f32(sums + (r * kTileN + c) * kVirtualLanes + lane);
      }
    }
    for (std::size_t i = lane; i < whole; i += kVirtualLanes) {
      Vec ws[kTileN];
      for (std::size_t c = 0; c < kTileN; ++c) ws[c] = load_f32(tile + c * kTileStride + i);
      for (std::size_t r = 0; r < kRows; ++r) {
        const Vec xs = load_f32(x + r * x_stride + i);
        for (std::size_t c = 0; c < kTileN; ++c) sum[r][c] = fma(ws[c], xs, sum[r][c]);
      }
    }
    if (whole < count) {
      for (std::size_t r = 0; r < kRows; ++r) {
        const F32x16 xs =
            load16_partial<ElementType::kF32>(x + r * x_stride + whole, count - whole);
        for (std::size_t c = 0; c < kTileN; ++c) {
          const Vec ws = load_f32(tile + c * kTileStride + whole + lane);
          sum[r][c] = fma(ws, xs.part[part], sum[r][c]);
        }
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t c = 0; c < kTileN; ++c) {
        store_f32(sums + (r * kTileN + c) * kVirtualLanes + lane, sum[r][c]);
      }
    }
  }
}

void multiply_tile_of(std::size_t rows, const float* x, std::size_t x_stride, const float* tile,
                      std::size_t count, bool first, float* sums) {
  static_assert(kTileM <= 4);
  if (rows == kTileM) return multiply_tile<kTileM>(x, x_stride, tile, count, first, sums);
  if (rows == 1) return multiply_tile<1>(x, x_stride, tile, count, first, sums);
  if (rows == 2) return multiply_tile<2>(x, x_stride, tile, count, first, sums);
  return multiply_tile<3>(x, x_stride, tile, count, first, sums);
}

// A block of x times a block of w, and where its partial sums are.
struct Block {
  std::size_t token;  // first of `tokens` <= kBlockM
  std::size_t tokens;
  std::size_t k;  // first of `depth` <= kBlockK
  std::size_t depth;
  float* tile;     // [kTileN, kTileStride]
  float* sums;     // [kBlockM, kTileN, 16] for each tile of channels
  bool keep_sums;  // k does not fit one block
};

// Adds up a tile's lanes and writes them to y: `rows` tokens from i on, `channels` from j on.
inline void write_totals(const DenseGemmArgs& args, std::size_t i, std::size_t rows, std::size_t j,
                         std::size_t channels, const float* sums) {
  float totals[kTileM * kTileN + Vec::kLanes];
  reduce_add16_each(sums, rows * kTileN, totals);
  for (std::size_t r = 0; r < rows; ++r) {
    float* y = args.y + (i + r) * args.y_stride + j;
    for (std::size_t c = 0; c < channels; ++c) y[c] = totals[r * kTileN + c];
  }
}

// Asks for one row of the next tile of w, so that it arrives while this one is multiplied.
template <ElementType kType>
void prefetch_row(const DenseGemmArgs& args, std::size_t j, std::size_t k, std::size_t depth) {
  constexpr std::size_t kLineBytes = 64;
  if (j >= args.n) return;
  const auto* row =
      static_cast<const unsigned char*>(advance<kType>(args.w, j * args.w_stride + k));
  for (std::size_t byte = 0; byte < depth * kElementBytes<kType>; byte += kLineBytes) {
    prefetch(row + byte);
  }
}

// A block times kTileN or fewer channels from j on.
template <ElementType kType>
void multiply_channels(const DenseGemmArgs& args, const Block& block, std::size_t j) {
  const std::size_t channels = at_most(args.n - j, kTileN);
  widen_rows<kType>(advance<kType>(args.w, j * args.w_stride + block.k), args.w_stride, channels,
                    block.depth, block.tile);
  const bool last = block.k + block.depth == args.k;
  float* kept = block.sums + j % kBlockN * kBlockM * kVirtualLanes;
  for (std::size_t i = 0; i < block.tokens; i += kTileM) {
    const std::size_t rows = at_most(block.tokens - i, kTileM);
    const float* x = args.x + (block.token + i) * args.x_stride + block.k;
    // Sums that need not wait stay in L1.
    float* sums = block.keep_sums ? kept + i * kTileN * kVirtualLanes : block.sums;
    if (i / kTileM < kTileN)
      prefetch_row<kType>(args, j + kTileN + i / kTileM, block.k, block.depth);
    multiply_tile_of(rows, x, args.x_stride, block.tile, block.depth, block.k == 0, sums);
    if (last) write_totals(args, block.token + i, rows, j, channels, sums);
  }
}

template <ElementType kType>
void prefill(const DenseGemmArgs& args) {
  Block block{};
  const std::uintptr_t misalignment = reinterpret_cast<std::uintptr_t>(args.scratch) / 4 % 16;
  block.tile = args.scratch + (16 - misalignment) % 16;
  block.sums = block.tile + kTileN * kTileStride;
  // Channels that the last tile lacks are multiplied too, and not written: give them numbers.
  for (std::size_t i = 0; i < kTileN * kTileStride; i += Vec::kLanes) {
    store_f32(block.tile + i, vec_zero());
  }
  // Blocks of equal depth, whole lanes.
  const std::size_t blocks = (args.k + kBlockK - 1) / kBlockK;
  const std::size_t depth =
      ((args.k + blocks - 1) / blocks + kVirtualLanes - 1) / kVirtualLanes * kVirtualLanes;
  block.keep_sums = depth < args.k;
  for (block.token = 0; block.token < args.m; block.token += kBlockM) {
    block.tokens = at_most(args.m - block.token, kBlockM);
    for (std::size_t j0 = 0; j0 < args.n; j0 += kBlockN) {
      const std::size_t j_end = at_most(args.n, j0 + kBlockN);
      for (block.k = 0; block.k < args.k; block.k += depth) {
        block.depth = at_most(args.k - block.k, depth);
        for (std::size_t j = j0; j < j_end; j += kTileN) multiply_channels<kType>(args, block, j);
      }
    }
  }
}

template <ElementType kType>
void dense_gemm_of(const DenseGemmArgs& args) {
  if (args.m == 1) {
    decode<kType>(args);
  } else {
    prefill<kType>(args);
  }
}

void dense_gemm_body(const DenseGemmArgs& args) {
  if (args.w_type == ElementType::kF32) dense_gemm_of<ElementType::kF32>(args);
  if (args.w_type == ElementType::kBF16) dense_gemm_of<ElementType::kBF16>(args);
  if (args.w_type == ElementType::kF16) dense_gemm_of<ElementType::kF16>(args);
}

}  // namespace
}  // namespace fptq::kernels
