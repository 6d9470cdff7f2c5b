// The tree of what sequences have in common, in the order in which a model computes it.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "eval/log_likelihood.h"

namespace fptq::eval {

// Tokens [begin, end) of sequences that are equal up to `end`. Nodes are cut where scoring begins,
// so that a node's logits are wanted for all of its tokens or for none.
struct PrefixNode {
  std::size_t parent;  // index of the node before it; itself for a root
  std::size_t begin;   // in tokens
  std::size_t end;
  std::vector<std::size_t> sequences;  // that run through it
  bool scored;                         // some of them score what follows its tokens
  std::size_t longest;                 // tokens that the longest of them gives to the model
  std::vector<std::size_t> children;

  [[nodiscard]] std::size_t size() const { return end - begin; }
};

// Parents stand before their children. Only what the model sees takes part: all tokens of a
// sequence but the last.
[[nodiscard]] std::vector<PrefixNode> prefix_tree(std::span<const ScoredSequence> sequences);

}  // namespace fptq::eval
