// The tile registers of AMX. Compilers have intrinsics for them too, but gcc's do not say that a
// load reads memory.

#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq::kernels {
namespace {

// Rows of a tile register, and bytes of one.
constexpr std::size_t kTileRegisterRows = 16;
constexpr std::size_t kTileRegisterBytes = 64;

// The shapes of this thread's tile registers 0 to 7, 16 rows of 64 bytes unless told otherwise; the
// operand of ldtilecfg.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Empties all of them. Every use ends with release_tiles(): no object does it in a destructor,
// which would have to run for exceptions too, whose tables are symbols that the linker shares with
// other files.
inline void shape_tiles(const TileShapes& shapes) {
  asm volatile("ldtilecfg %0" ::"m"(shapes) : "memory");
}
inline void release_tiles() {
  asm volatile("tilerelease" ::: "memory");
}

template <int kTile>
inline __attribute__((always_inline)) void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
// stride: bytes from row to row.
template <int kTile>
inline __attribute__((always_inline)) void load_tile(const void* from, std::size_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(kTile), "r"(from), "r"(stride) : "memory");
}
// Rows without a gap.
template <int kTile>
inline __attribute__((always_inline)) void load_tile(const void* from) {
  load_tile<kTile>(from, kTileRegisterBytes);
}
template <int kTile>
inline __attribute__((always_inline)) void store_tile(void* to) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(kTile), "r"(to), "r"(kTileRegisterBytes)
               : "memory");
}

// Tile kSum += tile kLeft times tile kRight: 32-bit sums of products of signed bytes.
template <int kSum, int kLeft, int kRight>
inline __attribute__((always_inline)) void add_signed_products() {
  asm volatile("tdpbssd %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(kRight), "i"(kLeft), "i"(kSum));
}

}  // namespace
}  // namespace fptq::kernels
