// How the reduction axis is cut into blocks that stay in cache.

#pragma once

#include "kernels/integer_gemm/layout.h"

namespace fptq::kernels {
namespace {

// Consecutive slabs: whole groups, or a part of one group.
struct KBlock {
  std::size_t slab_begin;
  std::size_t slabs;
  std::size_t group_begin;
  std::size_t groups;       // 1 where the block is a part of a group
  std::size_t group_slabs;  // slabs of each group within this block; the last may have fewer
  bool continues;           // the group began in an earlier block
  bool unfinished;          // the group goes on in the next block
};

// Walks the blocks of a matrix whose groups are whole slabs.
class KBlocks {
 public:
  KBlocks(std::size_t cols, std::size_t group_width, std::size_t max_slabs)
      : slabs_(slab_count(cols)),
        group_slabs_(group_width >= cols ? slabs_ : group_width / kSlabCols),
        max_slabs_(max_slabs) {}

  // The block that begins at slab_begin, which is 0 or the end of the previous block.
  [[nodiscard]] KBlock at(std::size_t slab_begin) const {
    const std::size_t rest = slabs_ - slab_begin;
    KBlock block{slab_begin, rest, slab_begin / group_slabs_, 1, group_slabs_, false, false};
    if (group_slabs_ <= max_slabs_) {
      const std::size_t whole = max_slabs_ / group_slabs_ * group_slabs_;
      block.slabs = rest < whole ? rest : whole;
      block.groups = ceil_div(block.slabs, group_slabs_);
      return block;
    }
    const std::size_t in_group = slab_begin % group_slabs_;
    const std::size_t group_rest = group_slabs_ - in_group < rest ? group_slabs_ - in_group : rest;
    block.slabs = group_rest < max_slabs_ ? group_rest : max_slabs_;
    block.group_slabs = block.slabs;
    block.continues = in_group != 0;
    block.unfinished = block.slabs < group_rest;
    return block;
  }

  // Calls visit(block, slabs) for every panel: every step-th block of channels in [block_begin,
  // block_end) with every KBlock. Where whole groups fit a panel, the channels of one KBlock follow
  // each other, so that its activations stay in cache; else the panels of one group do, so that its
  // sums can be carried from each to the next.
  template <typename Visit>
  void for_each_panel(std::size_t block_begin, std::size_t block_end, std::size_t step,
                      const Visit& visit) const {
    if (group_slabs_ <= max_slabs_) {
      for (std::size_t slab = 0; slab < slabs_; slab += at(slab).slabs) {
        for (std::size_t b = block_begin; b < block_end; b += step) visit(b, at(slab));
      }
      return;
    }
    for (std::size_t b = block_begin; b < block_end; b += step) {
      for (std::size_t slab = 0; slab < slabs_; slab += at(slab).slabs) visit(b, at(slab));
    }
  }

  [[nodiscard]] std::size_t slabs() const { return slabs_; }

 private:
  std::size_t slabs_;
  std::size_t group_slabs_;
  std::size_t max_slabs_;
};

// The loops of a product over panels: at most token_block tokens at a time, then for_each_panel().
//   start(token, tokens, k)            when a range of inputs begins, not again for its next
//   channels multiply(token, tokens, block, k)  for every panel
template <typename Start, typename Multiply>
void for_each_panel(const IntegerGemmArgs& args, const KBlocks& k_blocks, std::size_t token_block,
                    std::size_t step, const Start& start, const Multiply& multiply) {
  for (std::size_t token = 0; token < args.x.rows; token += token_block) {
    const std::size_t rest = args.x.rows - token;
    const std::size_t tokens = rest < token_block ? rest : token_block;
    std::size_t started = k_blocks.slabs();  // first slab of the range that start() saw last
    k_blocks.for_each_panel(args.block_begin, args.block_end, step,
                            [&](std::size_t block, const KBlock& k) {
                              if (started != k.slab_begin) start(token, tokens, k);
                              started = k.slab_begin;
                              multiply(token, tokens, block, k);
                            });
  }
}

// The same for a few blocks of channels at a time, `chunk`, whose results (or sums of an unfinished
// group) are kept from one range of inputs to the next: every range is the outer loop then, and its
// activations stay in cache.
//   start(token, tokens, k)                  when a range of inputs begins
//   multiply(token, tokens, block, slot, k)  for every panel, the slot-th block of its chunk
template <typename Start, typename Multiply>
void for_each_panel_of_chunks(const IntegerGemmArgs& args, const KBlocks& k_blocks,
                              std::size_t token_block, std::size_t chunk, std::size_t step,
                              const Start& start, const Multiply& multiply) {
  for (std::size_t token = 0; token < args.x.rows; token += token_block) {
    const std::size_t rest = args.x.rows - token;
    const std::size_t tokens = rest < token_block ? rest : token_block;
    for (std::size_t begin = args.block_begin; begin < args.block_end; begin += chunk) {
      const std::size_t left = args.block_end - begin;
      const std::size_t end = begin + (left < chunk ? left : chunk);
      for (std::size_t slab = 0; slab < k_blocks.slabs(); slab += k_blocks.at(slab).slabs) {
        const KBlock k = k_blocks.at(slab);
        start(token, tokens, k);
        for (std::size_t block = begin; block < end; block += step) {
          multiply(token, tokens, block, block - begin, k);
        }
      }
    }
  }
}

}  // namespace
}  // namespace fptq::kernels
