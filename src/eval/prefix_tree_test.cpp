#include "eval/prefix_tree.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq::eval {
namespace {

// "begin-end{sequences}" of each node with "*" where it is scored, under its parent's index.
std::string tree_of(const std::vector<ScoredSequence>& sequences) {
  std::string text;
  const std::vector<PrefixNode> nodes = prefix_tree(sequences);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const PrefixNode& node = nodes[i];
    text += (text.empty() ? "" : " ") + std::to_string(node.begin) + "-" + std::to_string(node.end);
    text += '{';
    for (const std::size_t s : node.sequences) text += std::to_string(s);
    text += node.scored ? "}*" : "}";
    if (node.parent != i) text += "<" + std::to_string(node.parent);
  }
  return text;
}

TEST(PrefixTree, HasOneNodeWhereTheOnlySequenceIsScoredFromItsStart) {
  EXPECT_EQ(tree_of({{{1, 2, 3}, 1}}), "0-2{0}*");
}

TEST(PrefixTree, CutsWhereScoringBegins) {
  EXPECT_EQ(tree_of({{{1, 2, 3, 4}, 3}}), "0-2{0} 2-3{0}*<0");
}

TEST(PrefixTree, SharesAContextAndBranchesBehindIt) {
  // Two choices behind the context 1 2 3: its last token is scored for both.
  EXPECT_EQ(tree_of({{{1, 2, 3, 8, 9}, 3}, {{1, 2, 3, 7, 6, 5}, 3}}),
            "0-2{10} 2-3{10}*<0 3-5{1}*<1 3-4{0}*<1");
  // Choices of one token each need nothing behind the context.
  EXPECT_EQ(tree_of({{{1, 2, 8}, 2}, {{1, 2, 7}, 2}}), "0-1{01} 1-2{01}*<0");
}

TEST(PrefixTree, KeepsSequencesApartThatBeginDifferently) {
  EXPECT_EQ(tree_of({{{1, 2}, 1}, {{2, 2}, 1}, {{1, 3}, 1}}), "0-1{02}* 0-1{1}*");
}

TEST(PrefixTree, LetsASequenceEndInsideAnother) {
  EXPECT_EQ(tree_of({{{1, 2, 3, 4, 5}, 4}, {{1, 2, 9}, 2}}),
            "0-1{10} 1-2{10}*<0 2-3{0}<1 3-4{0}*<2");
}

TEST(PrefixTree, KnowsTheLongestSequenceThroughANode) {
  const auto nodes = prefix_tree(std::vector<ScoredSequence>{{{1, 2, 3, 4}, 2}, {{1, 2, 5}, 2}});
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes[0].longest, 3U);
  EXPECT_EQ(nodes[1].children, std::vector<std::size_t>{2});
  EXPECT_TRUE(prefix_tree({}).empty());
}

}  // namespace
}  // namespace fptq::eval
