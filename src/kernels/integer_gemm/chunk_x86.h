// Where the x86 products keep results until they are finished, and how they write them then.

#pragma once

#include <immintrin.h>

#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// Tokens that share one unpacked panel; their codes stay in the second-level cache.
constexpr std::size_t kTokenBlock = 252;
// Blocks of channels whose results are kept at a time, tile by tile, until they are finished: rows
// of y are so far apart that they would share a few sets of the caches.
constexpr std::size_t kChunkBlocks = 16;
// Bytes of results from which on they are written past the caches, which could not keep them: a
// line that is not there would be read first.
constexpr std::size_t kStreamedBytes = std::size_t{1} << 20;

struct ChunkScratch {
  alignas(64) float results[kChunkBlocks * kBlockRows * kTokenBlock];
  alignas(64) std::int32_t carry[kChunkBlocks * kBlockRows * kTokenBlock];
};

// Whether y, the first row of a panel's results, and the rows below it are to be written past the
// caches.
inline bool results_are_streamed(const IntegerGemmArgs& args, const float* y) {
  return args.x.rows * args.y_stride * sizeof(float) >= kStreamedBytes &&
         (reinterpret_cast<std::uintptr_t>(y) | args.y_stride * sizeof(float)) % kQuadBytes == 0;
}

// Before another thread reads such results.
inline void finish_streaming() {
  _mm_sfence();
}

}  // namespace
}  // namespace fptq::kernels
