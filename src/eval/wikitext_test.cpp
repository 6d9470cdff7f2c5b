#include "eval/wikitext.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "eval/white_space.h"
#include "support/test_data.h"

namespace fptq::eval {
namespace {

constexpr const char* kTwoPages =
    " \n = First = \n \n A line . \n = = Section = = \n more \n = = = Deeper = = = \n"
    " = Second = \n end \n";

TEST(Wikitext, IsRecognizedByAHeadingOfTheFirstLevel) {
  EXPECT_TRUE(looks_like_wikitext(kTwoPages));
  EXPECT_FALSE(looks_like_wikitext("Once upon a time\n = = Section = = \n"));
  EXPECT_FALSE(looks_like_wikitext("a = b\n"));
  EXPECT_FALSE(looks_like_wikitext(""));
}

TEST(WikitextPages, BeginAtHeadingsOfTheFirstLevelOnly) {
  const auto pages = wikitext_pages(kTwoPages);
  ASSERT_EQ(pages.size(), 2u);
  EXPECT_EQ(pages[0],
            " = First = \n \n A line . \n = = Section = = \n more \n = = = Deeper = = = ");
  EXPECT_EQ(pages[1], " = Second = \n end \n");
}

TEST(WikitextPages, KeepWordsBeforeTheFirstHeading) {
  EXPECT_EQ(wikitext_pages("words\n = T = \n"), (std::vector<std::string>{"words", " = T = \n"}));
  EXPECT_EQ(wikitext_pages("no heading\n"), std::vector<std::string>{"no heading\n"});
}

TEST(WikitextDetokenize, JoinsWhatTheDataSetSplit) {
  EXPECT_EQ(wikitext_detokenize(
                " = Title = \n \n A guest @-@ starring role , in 1 @,@ 000 films . "
                "( he said : \" yes \" ) [ 1 ] Teddy 's dogs ' 5 \u00B0 C = = Next = = \n"),
            " = Title =\n\nA guest-starring role, in 1,000 films. "
            "(he said: \"yes\") [1] Teddy's dogs' 5\u00B0C == Next ==\n");
}

TEST(WikitextDetokenize, TightensShortestSpansAcrossLines) {
  EXPECT_EQ(wikitext_detokenize("( a ( b ) c )"), "(a ( b) c )");
  EXPECT_EQ(wikitext_detokenize("\"\n a \n\" b \" c"), "\"a\" b \" c");
  EXPECT_EQ(wikitext_detokenize("(  )"), "()");
  EXPECT_EQ(wikitext_detokenize("( open"), "( open");
}

TEST(WikitextDetokenize, KeepsTheHarnessOwnMistake) {
  EXPECT_EQ(wikitext_detokenize("/' 7/ /' x"), "/'[0-9]/ /' x");
}

TEST(WikitextRows, AreJoinedByBlankLines) {
  EXPECT_EQ(wikitext_rows(" \n = T = \n \n words . \n"), "\n\n = T = \n\n\n\n\n words . \n");
  EXPECT_EQ(wikitext_rows("a\nb"), "a\n\n\nb\n");
  EXPECT_EQ(wikitext_rows(""), "");
}

// Counts that the harness reports for its task on the same data.
TEST(WikitextPages, HaveTheHarnessCountsOfTheTestSplit) {
  FPTQ_REQUIRE_TEST_DATA("data/wikitext-2-raw/wiki.test.raw");
  const auto text = read_text_file(testing::test_data_dir() / "data/wikitext-2-raw/wiki.test.raw");
  ASSERT_TRUE(text);
  const auto pages = wikitext_pages(*text);
  std::size_t words = 0;
  std::size_t bytes = 0;
  for (const std::string& page : pages) {
    words += count_words(page);
    bytes += page.size();
  }
  EXPECT_EQ(pages.size(), 62u);
  EXPECT_EQ(words, 241335u);
  EXPECT_EQ(bytes, 1290527u);
}

}  // namespace
}  // namespace fptq::eval
