#include "calib/encode_prefix.h"

#include <gtest/gtest.h>

#include <string>

#include "support/tiny_tokenizer.h"

namespace fptq::calib {
namespace {

text::Tokenizer tiny_tokenizer() {
  return *text::Tokenizer::from_json(testing::tiny_tokenizer_json(320), "tiny");
}

TEST(PieceLength, TakesAShortTextWhole) {
  EXPECT_EQ(piece_length("", 8), 0u);
  EXPECT_EQ(piece_length("12345678", 8), 8u);
}

TEST(PieceLength, EndsBeforeALine) {
  EXPECT_EQ(piece_length("ab cd\nefgh ij", 8), 6u);
  // A line that begins with white space is joined to what is before it.
  EXPECT_EQ(piece_length("abcde\n\n fghij", 8), 8u);
}

TEST(PieceLength, EndsBehindAWord) {
  EXPECT_EQ(piece_length("abcde fgh ijkl", 8), 5u);
  EXPECT_EQ(piece_length("abcdef  gh ijkl", 8), 6u);
}

TEST(PieceLength, EndsBehindACharacter) {
  EXPECT_EQ(piece_length("abcdefghijkl", 8), 8u);
  EXPECT_EQ(piece_length("abcdefg\xc3\xa4zzzz", 8), 7u);
  EXPECT_EQ(piece_length("abcdef\xf0\x9f\x98\x80zz", 8), 6u);
}

TEST(EncodePrefix, GivesTheIdsOfTheWholeText) {
  const text::Tokenizer tokenizer = tiny_tokenizer();
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "word " + std::to_string(i) + (i % 9 == 0 ? "\n" : ", ");
  const auto whole = tokenizer.encode(text, false);
  ASSERT_TRUE(whole);
  for (const std::size_t count : {std::size_t{1}, std::size_t{700}, whole->size()}) {
    const auto ids = encode_prefix(tokenizer, text, count);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(*ids, std::vector(whole->begin(), whole->begin() + static_cast<long>(count)));
  }
  EXPECT_EQ(encode_prefix(tokenizer, text, whole->size() + 5)->size(), whole->size());
  EXPECT_TRUE(encode_prefix(tokenizer, "", 5)->empty());
}

}  // namespace
}  // namespace fptq::calib
