// Where the NEON products take weights from: an unpacked panel, or the packed matrix itself.
//
// Each source multiplies a slab: sums[s][v] += its 32 inputs of a block's 16 channels times those
// of the tokens of set s. Order is an operand order, Dot or Mmla.

#pragma once

#include "kernels/integer_gemm/dot_neon.h"
#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// Channels of a vector of a quad.
constexpr std::size_t kQuadChannels = 4;
constexpr std::size_t kQuadVectors = kBlockRows / kQuadChannels;
// Bytes ahead that the sources in memory ask for: the arithmetic keeps loads from running ahead.
constexpr std::size_t kPrefetchBytes = 4096;

// The tokens of a tile, rows[set][token of the set].
template <typename Order, std::size_t kSets>
using TileRows = const std::int8_t* [kSets][Order::kTokens];

template <typename Order, std::size_t kSets>
using TileInputs = int8x16_t[kSets][Order::kTokens];

template <typename Order, std::size_t kSets>
using TileSums = int32x4_t[kSets][Order::kVectors];

template <typename Order, std::size_t kSets>
[[gnu::always_inline]] inline void load_inputs(const TileRows<Order, kSets>& rows, std::size_t at,
                                               TileInputs<Order, kSets>& x) {
#pragma GCC unroll 8
  for (std::size_t s = 0; s < kSets; ++s) Order::load_inputs(rows[s], at, x[s]);
}

// Vector v of both quads of a pair, arranged.
template <typename Order>
[[gnu::always_inline]] inline void load_pair(const std::uint8_t* quads, std::size_t pair,
                                             std::size_t v, uint8x16_t (&w)[2]) {
  w[0] = vld1q_u8(quads + 2 * pair * kQuadBytes + v * 16);
  w[1] = vld1q_u8(quads + (2 * pair + 1) * kQuadBytes + v * 16);
  Order::arrange(w);
}

// Vectors v and v + 1, which lie side by side: a load instruction for two. All four are loaded
// before the first is used, or gcc 12 puts each load right before its use.
template <typename Order>
[[gnu::always_inline]] inline void load_pairs(const std::uint8_t* quads, std::size_t pair,
                                              std::size_t v, uint8x16_t (&w)[2][2]) {
  for (std::size_t part = 0; part < 2; ++part) {
    const std::uint8_t* from = quads + (2 * pair + part) * kQuadBytes + v * 16;
    w[0][part] = vld1q_u8(from);
    w[1][part] = vld1q_u8(from + 16);
  }
  asm volatile("" : "+w"(w[0][0]), "+w"(w[1][0]), "+w"(w[0][1]), "+w"(w[1][1]));
  Order::arrange(w[0]);
  Order::arrange(w[1]);
}

// The sums of channels 4 * v .. 4 * v + 3 get a part of a pair of quads times 16 inputs.
template <int kPair, int kPart, typename Order, std::size_t kSets, typename Weights>
[[gnu::always_inline]] inline void multiply_part(Weights w, std::size_t v,
                                                 const TileInputs<Order, kSets>& x,
                                                 TileSums<Order, kSets>& sums) {
#pragma GCC unroll 8
  for (std::size_t s = 0; s < kSets; ++s) {
    int32x4_t& sum = sums[s][v * Order::kTokens + Order::vector_of(kPart)];
    sum = Order::template multiply<kPair, kPart>(sum, w, x[s]);
  }
}

// A slab of bytes, 16 inputs at a time: two pairs of quads, or what they became in a panel.
template <typename Source, typename Order, std::size_t kSets>
[[gnu::always_inline]] inline void multiply_byte_slab(const std::uint8_t* w,
                                                      const TileRows<Order, kSets>& rows,
                                                      std::size_t at,
                                                      TileSums<Order, kSets>& sums) {
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    TileInputs<Order, kSets> x;
    load_inputs<Order, kSets>(rows, at + half * 16, x);
    Source::template multiply_pair<0, Order, kSets>(w, x, sums);
    Source::template multiply_pair<1, Order, kSets>(w, x, sums);
    w += kSlabBytes8 / 2;
  }
}

inline void prefetch_slab(const std::uint8_t* slab, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(slab + kPrefetchBytes + i);
}

// Arranged vectors of signed bytes, in the order in which they are multiplied.
struct PanelBytes {
  static constexpr std::size_t kSlabBytes = kSlabBytes8;

  // Where in a slab of the panel a part of a pair of quads lies; pair 0 to 3.
  static constexpr std::size_t offset(std::size_t pair, std::size_t v, std::size_t part) {
    return ((pair * kQuadVectors + v) * 2 + part) * 16;
  }

  template <typename Order, std::size_t kSets>
  [[gnu::always_inline]] static inline void multiply_slab(const std::uint8_t* w,
                                                          const TileRows<Order, kSets>& rows,
                                                          std::size_t at,
                                                          TileSums<Order, kSets>& sums) {
    multiply_byte_slab<PanelBytes, Order, kSets>(w, rows, at, sums);
  }

  template <int kPair, typename Order, std::size_t kSets>
  [[gnu::always_inline]] static inline void multiply_pair(const std::uint8_t* w,
                                                          const TileInputs<Order, kSets>& x,
                                                          TileSums<Order, kSets>& sums) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kQuadVectors; ++v) {
      const int8x16_t w0 = vreinterpretq_s8_u8(vld1q_u8(w + offset(kPair, v, 0)));
      const int8x16_t w1 = vreinterpretq_s8_u8(vld1q_u8(w + offset(kPair, v, 1)));
      multiply_part<kPair, 0, Order, kSets>(w0, v, x, sums);
      multiply_part<kPair, 1, Order, kSets>(w1, v, x, sums);
    }
  }
};

// Packed 8-bit codes, 128 too large where Order::kBiasedBytes.
struct PackedBytes {
  static constexpr std::size_t kSlabBytes = kSlabBytes8;

  template <typename Order, std::size_t kSets>
  [[gnu::always_inline]] static inline void multiply_slab(const std::uint8_t* w,
                                                          const TileRows<Order, kSets>& rows,
                                                          std::size_t at,
                                                          TileSums<Order, kSets>& sums) {
    prefetch_slab(w, kSlabBytes);
    multiply_byte_slab<PackedBytes, Order, kSets>(w, rows, at, sums);
  }

  template <int kPair, typename Order, std::size_t kSets>
  [[gnu::always_inline]] static inline void multiply_pair(const std::uint8_t* w,
                                                          const TileInputs<Order, kSets>& x,
                                                          TileSums<Order, kSets>& sums) {
#pragma GCC unroll 2
    for (std::size_t v = 0; v < kQuadVectors; v += 2) {
      uint8x16_t bytes[2][2];
      load_pairs<Order>(w, kPair, v, bytes);
      const auto w00 = Order::byte_weights(bytes[0][0]);
      const auto w10 = Order::byte_weights(bytes[1][0]);
      const auto w01 = Order::byte_weights(bytes[0][1]);
      const auto w11 = Order::byte_weights(bytes[1][1]);
      multiply_part<kPair, 0, Order, kSets>(w00, v, x, sums);
      multiply_part<kPair, 0, Order, kSets>(w10, v + 1, x, sums);
      multiply_part<kPair, 1, Order, kSets>(w01, v, x, sums);
      multiply_part<kPair, 1, Order, kSets>(w11, v + 1, x, sums);
    }
  }
};

// Packed 4-bit codes, 8 too large: a nibble is small enough for a signed byte as it is.
struct PackedNibbles {
  static constexpr std::size_t kSlabBytes = kSlabBytes4;

  template <typename Order, std::size_t kSets>
  [[gnu::always_inline]] static inline void multiply_slab(const std::uint8_t* w,
                                                          const TileRows<Order, kSets>& rows,
                                                          std::size_t at,
                                                          TileSums<Order, kSets>& sums) {
    prefetch_slab(w, kSlabBytes);
    TileInputs<Order, kSets> low;
    TileInputs<Order, kSets> high;
    load_inputs<Order, kSets>(rows, at, low);
    load_inputs<Order, kSets>(rows, at + 16, high);
    multiply_pair<0, Order, kSets>(w, low, high, sums);
    multiply_pair<1, Order, kSets>(w, low, high, sums);
  }

 private:
  template <int kPair, typename Order, std::size_t kSets>
  [[gnu::always_inline]] static inline void multiply_pair(const std::uint8_t* w,
                                                          const TileInputs<Order, kSets>& low,
                                                          const TileInputs<Order, kSets>& high,
                                                          TileSums<Order, kSets>& sums) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kQuadVectors; v += 2) {
      uint8x16_t packed[2][2];
      load_pairs<Order>(w, kPair, v, packed);
      multiply_part<kPair, 0, Order, kSets>(low_nibbles(packed[0][0]), v, low, sums);
      multiply_part<kPair, 0, Order, kSets>(low_nibbles(packed[1][0]), v + 1, low, sums);
      multiply_part<kPair, 0, Order, kSets>(high_nibbles(packed[0][0]), v, high, sums);
      multiply_part<kPair, 0, Order, kSets>(high_nibbles(packed[1][0]), v + 1, high, sums);
      multiply_part<kPair, 1, Order, kSets>(low_nibbles(packed[0][1]), v, low, sums);
      multiply_part<kPair, 1, Order, kSets>(low_nibbles(packed[1][1]), v + 1, low, sums);
      multiply_part<kPair, 1, Order, kSets>(high_nibbles(packed[0][1]), v, high, sums);
      multiply_part<kPair, 1, Order, kSets>(high_nibbles(packed[1][1]), v + 1, high, sums);
    }
  }

  static int8x16_t low_nibbles(uint8x16_t packed) {
    return vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(0x0F)));
  }
  static int8x16_t high_nibbles(uint8x16_t packed) {
    return vreinterpretq_s8_u8(vshrq_n_u8(packed, 4));
  }
};

}  // namespace
}  // namespace fptq::kernels
