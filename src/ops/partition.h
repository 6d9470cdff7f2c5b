// How one matrix product is cut into pieces for threads. Pieces never change the result.

#pragma once

#include <cstddef>

namespace fptq::ops {

// Output channels of a piece of a dense product [tokens, cols] x [channels, cols]^T.
[[nodiscard]] std::size_t channel_grain(std::size_t tokens, std::size_t channels, std::size_t cols,
                                        std::size_t threads);

// The pieces of an integer product: a grid of token ranges by ranges of 16-channel blocks. The
// pieces of one token range follow each other.
class IntegerTiles {
 public:
  struct Tile {
    std::size_t token_begin, token_end;
    std::size_t block_begin, block_end;
  };

  IntegerTiles(std::size_t tokens, std::size_t token_grain, std::size_t blocks,
               std::size_t block_grain);

  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] Tile operator[](std::size_t index) const;

 private:
  std::size_t tokens_;
  std::size_t token_grain_;
  std::size_t blocks_;
  std::size_t block_grain_;
};

[[nodiscard]] IntegerTiles integer_tiles(std::size_t tokens, std::size_t channels, std::size_t cols,
                                         std::size_t threads);

}  // namespace fptq::ops
