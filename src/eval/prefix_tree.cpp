#include "eval/prefix_tree.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace fptq::eval {
namespace {

class TreeBuilder {
 public:
  explicit TreeBuilder(std::span<const ScoredSequence> sequences) : sequences_(sequences) {}

  std::vector<PrefixNode> build() {
    std::vector<std::size_t> order(sequences_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      const auto one = input(a);
      const auto two = input(b);
      return std::lexicographical_compare(one.begin(), one.end(), two.begin(), two.end());
    });
    // Ranges of equal beginnings that still have to be looked at; a stack, because sequences may
    // branch as often as they have tokens.
    ranges_.push_back({order, 0, kNone});
    while (!ranges_.empty()) {
      const Range range = std::move(ranges_.back());
      ranges_.pop_back();
      add(range);
    }
    return std::move(nodes_);
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  struct Range {
    std::vector<std::size_t> sequences;  // sorted, equal up to `depth`
    std::size_t depth;
    std::size_t parent;
  };

  // What the model sees of a sequence.
  [[nodiscard]] std::span<const TokenId> input(std::size_t index) const {
    const std::vector<TokenId>& tokens = sequences_[index].tokens;
    return std::span(tokens).first(tokens.size() - 1);
  }

  void add(const Range& range) {
    // Sorted: what the first and the last share, all share.
    const auto first = input(range.sequences.front());
    const auto last = input(range.sequences.back());
    const auto at = static_cast<std::ptrdiff_t>(range.depth);
    const auto [end_of_first, end_of_last] =
        std::mismatch(first.begin() + at, first.end(), last.begin() + at, last.end());
    const auto end = static_cast<std::size_t>(end_of_first - first.begin());

    std::size_t scoring = end;
    for (const std::size_t i : range.sequences) {
      scoring = std::min(scoring, sequences_[i].first_scored - 1);
    }
    scoring = std::max(scoring, range.depth);
    std::size_t parent = range.parent;
    parent = add_node(parent, range.depth, scoring, range.sequences, false);
    parent = add_node(parent, scoring, end, range.sequences, true);
    branch(range.sequences, end, parent);
  }

  // The node's index; `parent` where it would have no tokens.
  std::size_t add_node(std::size_t parent, std::size_t begin, std::size_t end,
                       const std::vector<std::size_t>& sequences, bool scored) {
    if (begin == end) return parent;
    std::size_t longest = 0;
    for (const std::size_t i : sequences) longest = std::max(longest, input(i).size());
    const std::size_t index = nodes_.size();
    nodes_.push_back(
        {parent == kNone ? index : parent, begin, end, sequences, scored, longest, {}});
    if (parent != kNone) nodes_[parent].children.push_back(index);
    return index;
  }

  // Goes on behind `depth` with those that have a token there, by that token.
  void branch(const std::vector<std::size_t>& sequences, std::size_t depth, std::size_t parent) {
    std::vector<Range> branches;
    for (const std::size_t i : sequences) {
      if (input(i).size() == depth) continue;
      const bool same =
          !branches.empty() && input(branches.back().sequences.front())[depth] == input(i)[depth];
      if (!same) branches.push_back({{}, depth, parent});
      branches.back().sequences.push_back(i);
    }
    std::move(branches.rbegin(), branches.rend(), std::back_inserter(ranges_));
  }

  std::span<const ScoredSequence> sequences_;
  std::vector<Range> ranges_;
  std::vector<PrefixNode> nodes_;
};

}  // namespace

std::vector<PrefixNode> prefix_tree(std::span<const ScoredSequence> sequences) {
  for (const ScoredSequence& sequence : sequences) {
    FPTQ_CHECK(sequence.first_scored >= 1 && sequence.first_scored < sequence.tokens.size(),
               "a sequence scores a token");
  }
  if (sequences.empty()) return {};
  return TreeBuilder(sequences).build();
}

}  // namespace fptq::eval
