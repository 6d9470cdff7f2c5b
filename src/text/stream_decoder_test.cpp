#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/utf8.h"
#include "support/tiny_tokenizer.h"

namespace fptq::text {
namespace {

using testing::kTinyFirstByte;
using Pieces = std::vector<std::string>;

Tokenizer loaded(const std::string& json) {
  auto tokenizer = Tokenizer::from_json(json, "tokenizer.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

std::vector<TokenId> byte_ids(std::string_view bytes) {
  std::vector<TokenId> ids;
  for (const char byte : bytes) {
    ids.push_back(static_cast<TokenId>(kTinyFirstByte + static_cast<unsigned char>(byte)));
  }
  return ids;
}

// The pieces of `ids`, and the flush at the end.
Pieces pieces(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder decoder(tokenizer);
  Pieces all;
  for (const TokenId id : ids) all.push_back(*decoder.push(id));
  all.push_back(*decoder.flush());
  return all;
}

TEST(StreamDecoder, HoldsBackACharacterUntilItIsComplete) {
  const Tokenizer tokenizer = loaded(testing::tiny_tokenizer_json(300));
  EXPECT_EQ(pieces(tokenizer, byte_ids("a\u00e9\U0001F600b")),
            (Pieces{"a", "", "\u00e9", "", "", "", "\U0001F600", "b", ""}));
}

TEST(StreamDecoder, HoldsBackByteTokensUntilTheyAreACharacter) {
  const Tokenizer tokenizer = loaded(testing::tiny_byte_fallback_tokenizer_json());
  EXPECT_EQ(pieces(tokenizer, byte_ids("\u4f60\u597d")),
            (Pieces{"", "", "\u4f60", "", "", "\u597d", ""}));
}

TEST(StreamDecoder, DropsTheLeadingSpaceOfTheFirstTokenOnly) {
  const Tokenizer tokenizer = loaded(testing::tiny_byte_fallback_tokenizer_json());
  const TokenId word = *tokenizer.id_of("\u2581a");
  EXPECT_EQ(pieces(tokenizer, {word, word, word}), (Pieces{"a", " a", " a", ""}));
}

TEST(StreamDecoder, GivesNoTextForSpecialTokens) {
  const Tokenizer tokenizer = loaded(testing::tiny_tokenizer_json(300));
  const std::vector<TokenId> letter = byte_ids("\u00e9");
  EXPECT_EQ(pieces(tokenizer, {testing::kTinyBos, letter[0], testing::kTinyEos, letter[1]}),
            (Pieces{"", "", "", "\u00e9", ""}));
}

TEST(StreamDecoder, FlushesUnfinishedCharactersAsReplacements) {
  const Tokenizer tokenizer = loaded(testing::tiny_tokenizer_json(300));
  EXPECT_EQ(pieces(tokenizer, byte_ids("a\xf0\x9f")), (Pieces{"a", "", "", "\uFFFD"}));
}

TEST(StreamDecoder, IsAsNewAfterAFlush) {
  const Tokenizer tokenizer = loaded(testing::tiny_byte_fallback_tokenizer_json());
  const TokenId word = *tokenizer.id_of("\u2581a");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(*decoder.push(word), "a");
  EXPECT_EQ(*decoder.flush(), "");
  EXPECT_EQ(*decoder.push(word), "a");
}

TEST(StreamDecoder, GoesOnAfterBrokenBytes) {
  for (const std::string& json :
       {testing::tiny_tokenizer_json(300), testing::tiny_byte_fallback_tokenizer_json()}) {
    const Tokenizer tokenizer = loaded(json);
    std::string all;
    std::vector<TokenId> ids = byte_ids("ok\xff\xfe");
    for (const char* letter : {"f", "i", "n", "e"}) ids.push_back(*tokenizer.id_of(letter));
    for (const std::string& piece : pieces(tokenizer, ids)) {
      EXPECT_EQ(invalid_utf8_at(piece), std::nullopt);
      all += piece;
    }
    EXPECT_EQ(all.substr(0, 2), "ok");
    EXPECT_EQ(all.substr(all.size() - 4), "fine");
  }
}

TEST(StreamDecoder, DoesNotWaitForeverForBytesThatNeverEnd) {
  const Tokenizer tokenizer = loaded(testing::tiny_tokenizer_json(300));
  StreamDecoder decoder(tokenizer);
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece = *decoder.push(byte_ids("\xff")[0]);
    EXPECT_EQ(invalid_utf8_at(piece), std::nullopt);
    all += piece;
  }
  EXPECT_GT(all.size(), 900 * std::string("\uFFFD").size());
}

TEST(StreamDecoder, GivesNoTextForIdsThatNoTokenHas) {
  const Tokenizer tokenizer = loaded(testing::tiny_tokenizer_json(300));
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(*decoder.push(byte_ids("a")[0]), "a");
  EXPECT_EQ(*decoder.push(300), "");
  EXPECT_EQ(*decoder.push(2000000000), "");
  EXPECT_EQ(*decoder.push(byte_ids("b")[0]), "b");
}

TEST(StreamDecoder, NamesANegativeIdAndGoesOn) {
  const Tokenizer tokenizer = loaded(testing::tiny_tokenizer_json(300));
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(*decoder.push(byte_ids("a")[0]), "a");
  const auto bad = decoder.push(-1);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(*decoder.push(byte_ids("b")[0]), "b");
}

}  // namespace
}  // namespace fptq::text
