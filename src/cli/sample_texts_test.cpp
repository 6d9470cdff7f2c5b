#include "cli/sample_texts.h"

#include <gtest/gtest.h>

#include <utility>

#include "support/tiny_tokenizer.h"

namespace fptq::cli {
namespace {

using Ids = std::vector<std::int32_t>;

text::Tokenizer tiny() {
  auto tokenizer = text::Tokenizer::from_json(testing::tiny_tokenizer_json(300), "tokenizer.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

report::ContinuationFigure compared(const Ids& ids, const Ids& reference) {
  const auto figure = compare_continuations(tiny(), ids, reference);
  EXPECT_TRUE(figure);
  return *figure;
}

// A token for each byte, whatever merges the tokenizer knows.
Ids ids_of(const std::string& text) {
  Ids ids;
  for (const char c : text) {
    ids.push_back(static_cast<std::int32_t>(testing::kTinyFirstByte) +
                  static_cast<unsigned char>(c));
  }
  return ids;
}

TEST(SamplePrompts, AreTheFirstWordsOfLongParagraphs) {
  const std::string paragraph = "one two three four five six seven eight nine ten eleven twelve";
  const std::string text =
      "short\n\n  " + paragraph + " thirteen\n" + paragraph + "\n = Title = \n";
  const auto prompts = sample_prompts(text, 1);
  EXPECT_EQ(prompts, std::vector<std::string>{paragraph});
}

TEST(SamplePrompts, AreSpreadOverTheText) {
  std::string text;
  for (int i = 0; i < 10; ++i) {
    text += std::to_string(i) + " b c d e f g h i j k l m\n";
  }
  const auto prompts = sample_prompts(text, 5);
  ASSERT_EQ(prompts.size(), 5U);
  EXPECT_TRUE(prompts[0].starts_with("0 "));
  EXPECT_TRUE(prompts[1].starts_with("2 "));
  EXPECT_TRUE(prompts[4].starts_with("8 "));
}

TEST(SamplePrompts, AreNeutralWhereTheTextHasTooFew) {
  const auto prompts = sample_prompts("", 3);
  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_NE(prompts[0], prompts[1]);
  EXPECT_EQ(sample_prompts("", 50).size(), 8U);
  EXPECT_TRUE(sample_prompts("", 0).empty());
}

TEST(CompareContinuations, SplitsAtTheFirstTokenThatDiffers) {
  const auto figure = compared(ids_of("a cat"), ids_of("a dog"));
  EXPECT_TRUE(figure.differs);
  EXPECT_EQ(figure.agreeing, 2U);
  EXPECT_EQ(figure.tokens, 5U);
  EXPECT_EQ(figure.same, "a ");
  EXPECT_EQ(figure.diverging, "c");
  EXPECT_EQ(figure.rest, "at");
  EXPECT_EQ(figure.diverging_name, "c");
}

TEST(CompareContinuations, SaysWhereNothingDiffers) {
  const auto figure = compared(ids_of("same"), ids_of("same"));
  EXPECT_FALSE(figure.differs);
  EXPECT_EQ(figure.agreeing, 4U);
  EXPECT_EQ(figure.same, "same");
  EXPECT_EQ(figure.diverging + figure.rest, "");
}

TEST(CompareContinuations, NamesTokensWithoutVisibleText) {
  Ids ended = ids_of("a");
  ended.push_back(testing::kTinyEos);
  EXPECT_EQ(compared(ended, ids_of("ab")).diverging_name, "end of text");
  EXPECT_EQ(compared(ids_of("a\nb"), ids_of("ab")).diverging_name, "line break");
  EXPECT_EQ(compared(ids_of("a b"), ids_of("ab")).diverging_name, "space");
}

TEST(CompareContinuations, NeverCutsInsideACharacter) {
  // U+00E9 and U+00E8 share their first byte, a token of its own.
  const auto figure = compared(ids_of("\u00E9"), ids_of("\u00E8"));
  EXPECT_EQ(figure.agreeing, 1U);
  EXPECT_EQ(figure.same, "");
  EXPECT_EQ(figure.same + figure.diverging + figure.rest, "\u00E9");
}

TEST(CompareContinuations, TakesIdsThatTheTokenizerDoesNotKnowForTokensWithoutText) {
  Ids ids = ids_of("ab");
  ids.insert(ids.begin() + 1, 100000);
  const auto figure = compared(ids, ids_of("ab"));
  EXPECT_EQ(figure.agreeing, 1U);
  EXPECT_EQ(figure.same, "a");
  EXPECT_EQ(figure.diverging, "");
  EXPECT_EQ(figure.rest, "b");
  EXPECT_EQ(figure.diverging_name, "token 100000, which has no text");
}

}  // namespace
}  // namespace fptq::cli
