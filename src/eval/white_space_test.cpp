#include "eval/white_space.h"

#include <gtest/gtest.h>

namespace fptq::eval {
namespace {

TEST(WhiteSpace, IsWhatPythonTakesForIt) {
  EXPECT_EQ(white_space_at(" ", 0), 1u);
  EXPECT_EQ(white_space_at("\x1f", 0), 1u);
  EXPECT_EQ(white_space_at("\x1b", 0), 0u);
  EXPECT_EQ(white_space_at("\xC2\x85", 0), 2u);
  EXPECT_EQ(white_space_at("\u00A0", 0), 2u);
  EXPECT_EQ(white_space_at("\u3000", 0), 3u);
  EXPECT_EQ(white_space_at("\u200B", 0), 0u);  // a zero-width space is not one
  EXPECT_EQ(white_space_at("", 0), 0u);
}

TEST(Strip, RemovesWhiteSpaceOfAnyWidthFromBothEnds) {
  EXPECT_EQ(strip(" \t\u2003a \u00A0b\u3000\n"), "a \u00A0b");
  EXPECT_EQ(strip("\n \n"), "");
  EXPECT_EQ(strip(""), "");
  EXPECT_EQ(strip("\u00E9"), "\u00E9");
}

TEST(CountWords, CountsPiecesAndEmptyEnds) {
  EXPECT_EQ(count_words("one two"), 2u);
  EXPECT_EQ(count_words(" one \n two "), 4u);
  EXPECT_EQ(count_words("one"), 1u);
  EXPECT_EQ(count_words(""), 1u);
  EXPECT_EQ(count_words("a\u2003\u2003b"), 2u);
}

}  // namespace
}  // namespace fptq::eval
