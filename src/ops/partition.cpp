#include "ops/partition.h"

#include <algorithm>

#include "kernels/integer_gemm/layout.h"

namespace fptq::ops {
namespace {

using kernels::ceil_div;

// Products below which a piece is not worth handing to another thread: about a microsecond. Larger
// ones would leave two threads unequal shares of a small model's matrices.
constexpr std::size_t kSmallestPiece = std::size_t{1} << 14;

// More pieces than threads, so that a thread that lost its processor for a while does not hold
// up the others.
constexpr std::size_t kPiecesPerThread = 6;

// Channels that are whole vectors of 16 and whole tiles of 6 (kernels/dense_gemm/panels.h): a tile
// that lacks channels takes as long as a full one.
constexpr std::size_t kWholeTiles = 48;

// Kernels take four blocks at a time where tokens are few.
constexpr std::size_t kBlocksAtATime = 4;

// Tokens of a piece, where tokens are shared as well.
constexpr std::size_t kTokenPiece = 48;

// Blocks of a piece with many tokens: what is summed up between two ranges of inputs, 128 channels
// of some hundred tokens, stays in the second-level cache.
constexpr std::size_t kCachedBlocks = 8;

}  // namespace

std::size_t channel_grain(std::size_t tokens, std::size_t channels, std::size_t cols,
                          std::size_t threads) {
  const std::size_t balanced = ceil_div(channels, threads * kPiecesPerThread);
  const std::size_t smallest = ceil_div(kSmallestPiece, std::max<std::size_t>(1, tokens * cols));
  const std::size_t wanted = std::max(balanced, smallest);
  // Whole vectors of channels, and panels that stay in the second-level cache.
  if (tokens == 1 || channels < 2 * threads * kWholeTiles) return ceil_div(wanted, 16) * 16;
  return std::max<std::size_t>(1, wanted / kWholeTiles) * kWholeTiles;
}

IntegerTiles::IntegerTiles(std::size_t tokens, std::size_t token_grain, std::size_t blocks,
                           std::size_t block_grain)
    : tokens_(tokens), token_grain_(token_grain), blocks_(blocks), block_grain_(block_grain) {}

std::size_t IntegerTiles::count() const {
  return ceil_div(tokens_, token_grain_) * ceil_div(blocks_, block_grain_);
}

IntegerTiles::Tile IntegerTiles::operator[](std::size_t index) const {
  const std::size_t pieces = ceil_div(blocks_, block_grain_);
  const std::size_t token = index / pieces * token_grain_;
  const std::size_t block = index % pieces * block_grain_;
  return {token, std::min(token + token_grain_, tokens_), block,
          std::min(block + block_grain_, blocks_)};
}

IntegerTiles integer_tiles(std::size_t tokens, std::size_t channels, std::size_t cols,
                           std::size_t threads) {
  const std::size_t blocks = kernels::block_count(channels);
  const std::size_t block_products = std::max<std::size_t>(1, tokens * cols * kernels::kBlockRows);
  const auto whole = [](std::size_t grain) {
    return ceil_div(grain, kBlocksAtATime) * kBlocksAtATime;
  };
  const std::size_t smallest = whole(ceil_div(kSmallestPiece, block_products));
  const std::size_t balanced = whole(ceil_div(blocks, threads * kPiecesPerThread));
  std::size_t block_grain = std::max(smallest, balanced);
  if (tokens >= kTokenPiece) block_grain = std::min(block_grain, std::max(smallest, kCachedBlocks));
  // A matrix with few channels is shared by tokens too.
  std::size_t token_grain = std::max<std::size_t>(1, tokens);
  const std::size_t block_pieces = std::max<std::size_t>(1, ceil_div(blocks, block_grain));
  if (threads > 1 && block_pieces < 2 * threads && tokens >= 2 * kTokenPiece) {
    const std::size_t wanted = ceil_div(2 * threads, block_pieces);
    token_grain = std::max(kTokenPiece, ceil_div(ceil_div(tokens, wanted), 12) * 12);
  }
  return IntegerTiles(tokens, token_grain, blocks, block_grain);
}

}  // namespace fptq::ops
