// fixed_gemm with products of 16-bit halves, written once over Words. Included by each variant
// after its Words:
//
//   Words::kLanes               words in one
//   Words::kTileVectors         vectors of channels in a tile
//   Words::kTileRows            its rows: kTileVectors * kTileRows sums stay in registers
//   load(p), store(p, a)        kLanes words at p
//   broadcast(x)                x in every lane
//   zero()                      zeros
//   add(a, b)                   a + b
//   add_products(c, a, b)       c + a.low * b.low + a.high * b.high
//   high_half(a), low_half(a)   a >> 16 with its sign, and a & 0xFFFF
//
//   for a tile of channels
//     for kTileRows of rows
//       for kRun words            32-bit sums in registers
//         halves of the sums are added up apart, in scratch, in L1

#pragma once

#include <cstdint>

#include "kernels/fixed_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Words after which 32-bit sums are cut: 2 * 16 * 8127^2 < 2^31.
inline constexpr std::size_t kRun = 16;
static_assert(2 * kRun * kFixedLimit * kFixedLimit < std::int64_t{1} << 31);
static_assert(kFixedWords % kRun == 0);

inline constexpr std::size_t kTileChannels = Words::kLanes * Words::kTileVectors;

// Where the words of a tile are, in the caller's arrays.
struct Tile {
  const std::int32_t* a;
  const std::int32_t* b;
  std::int32_t* high;  // [kTileRows, kTileChannels] sums of upper halves
  std::int32_t* low;   // and of lower ones
};

// high * 65536 + low = sum_w a[r, w] b[w, :] for kRows rows and kVectors vectors of channels.
template <std::size_t kRows, std::size_t kVectors>
void multiply_tile(const FixedGemmArgs& args, const Tile& tile) {
  for (std::size_t i = 0; i < kRows * kTileChannels; i += Words::kLanes) {
    store(tile.high + i, zero());
    store(tile.low + i, zero());
  }
  for (std::size_t first = 0; first < args.words; first += kRun) {
    Words sum[kRows][kVectors];
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t v = 0; v < kVectors; ++v) sum[r][v] = zero();
    }
    for (std::size_t w = first; w < first + kRun; ++w) {
      Words bs[kVectors];
      for (std::size_t v = 0; v < kVectors; ++v) {
        bs[v] = load(tile.b + w * args.b_stride + v * Words::kLanes);
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        const Words as = broadcast(tile.a[r * args.a_row_stride + w * args.a_word_stride]);
        for (std::size_t v = 0; v < kVectors; ++v) sum[r][v] = add_products(sum[r][v], as, bs[v]);
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        const std::size_t at = r * kTileChannels + v * Words::kLanes;
        store(tile.high + at, add(load(tile.high + at), high_half(sum[r][v])));
        store(tile.low + at, add(load(tile.low + at), low_half(sum[r][v])));
      }
    }
  }
}

template <std::size_t kRows>
void multiply_channels(const FixedGemmArgs& args, const Tile& tile, std::size_t vectors) {
  static_assert(Words::kTileVectors <= 4);
  if (vectors == 1) return multiply_tile<kRows, 1>(args, tile);
  if constexpr (Words::kTileVectors >= 2) {
    if (vectors == 2) return multiply_tile<kRows, 2>(args, tile);
  }
  if constexpr (Words::kTileVectors >= 3) {
    if (vectors == 3) return multiply_tile<kRows, 3>(args, tile);
  }
  if constexpr (Words::kTileVectors >= 4) return multiply_tile<kRows, 4>(args, tile);
}

void write_sums(const FixedGemmArgs& args, const Tile& tile, std::size_t i, std::size_t rows,
                std::size_t j, std::size_t channels) {
  for (std::size_t r = 0; r < rows; ++r) {
    float* y = args.y + (i + r) * args.y_stride + j;
    const float scale = args.a_scale[i + r];
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t at = r * kTileChannels + c;
      // |sum| < 2^43: exact in double, so that float rounds once.
      const double sum =
          static_cast<double>(tile.high[at]) * 65536.0 + static_cast<double>(tile.low[at]);
      const float product = static_cast<float>(sum) * scale * args.b_scale[j + c];
      y[c] = args.accumulate ? y[c] + product : product;
    }
  }
}

void fixed_gemm_body(const FixedGemmArgs& args) {
  auto* high = static_cast<std::int32_t*>(args.scratch);
  std::int32_t* low = high + Words::kTileRows * kTileChannels;
  for (std::size_t j = 0; j < args.n; j += kTileChannels) {
    const std::size_t channels = args.n - j < kTileChannels ? args.n - j : kTileChannels;
    const std::size_t vectors = (channels + Words::kLanes - 1) / Words::kLanes;
    std::size_t i = 0;
    while (i < args.m) {
      const std::size_t rows = args.m - i < Words::kTileRows ? 1 : Words::kTileRows;
      const Tile tile{args.a + i * args.a_row_stride, args.b + j, high, low};
      if (rows == 1) {
        multiply_channels<1>(args, tile, vectors);
      } else {
        multiply_channels<Words::kTileRows>(args, tile, vectors);
      }
      write_sums(args, tile, i, rows, j, channels);
      i += rows;
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
