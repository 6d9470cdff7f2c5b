#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/tiny_tokenizer.h"

namespace fptq::text {
namespace {

using testing::kTinyBos;
using testing::kTinyEos;
using testing::kTinyFirstByte;
using testing::kTinyUnk;
using Ids = std::vector<TokenId>;

TokenId byte_id(unsigned char byte) {
  return static_cast<TokenId>(kTinyFirstByte + byte);
}

Tokenizer loaded(const std::string& json) {
  auto tokenizer = Tokenizer::from_json(json, "tokenizer.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

Tokenizer tiny(std::size_t vocabulary_size = 300) {
  return loaded(testing::tiny_tokenizer_json(vocabulary_size));
}

TEST(Tokenizer, PutsBosInFrontOnlyWhereSpecialTokensAreAskedFor) {
  const Tokenizer tokenizer = tiny();
  EXPECT_EQ(*tokenizer.encode("A", true), (Ids{kTinyBos, byte_id('A')}));
  EXPECT_EQ(*tokenizer.encode("A", false), (Ids{byte_id('A')}));
  EXPECT_EQ(*tokenizer.encode("", true), (Ids{kTinyBos}));
  EXPECT_EQ(*tokenizer.encode("", false), Ids{});
}

TEST(Tokenizer, AppliesMergesInOrder) {
  const Tokenizer tokenizer = tiny(1000);
  EXPECT_EQ(*tokenizer.encode(" a", false), (Ids{*tokenizer.id_of("\u0120a")}));
  EXPECT_EQ(*tokenizer.encode("ab", false), (Ids{*tokenizer.id_of("ab")}));
}

TEST(Tokenizer, MakesSpecialTokensOfTheirText) {
  const Tokenizer tokenizer = tiny();
  EXPECT_EQ(*tokenizer.encode("A</s>B", false), (Ids{byte_id('A'), kTinyEos, byte_id('B')}));
}

TEST(Tokenizer, RoundTripsAnyText) {
  const Tokenizer tokenizer = tiny(700);
  for (const std::string text :
       {"", " ", "the quick brown fox", "\n\t\r\n  x", "\u4f60\u597d \U0001F600", "a\xCC\x81",
        "\x01\x7f", "  two  spaces  "}) {
    const auto ids = tokenizer.encode(text, true);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(*tokenizer.decode(*ids, /*skip_special=*/true), text);
    EXPECT_EQ(*tokenizer.decode(*ids, /*skip_special=*/false), "<s>" + text);
  }
  const std::string with_nul("a\0b", 3);
  EXPECT_EQ(*tokenizer.decode(*tokenizer.encode(with_nul, false), true), with_nul);
}

TEST(Tokenizer, FallsBackToByteTokens) {
  const Tokenizer tokenizer = loaded(testing::tiny_byte_fallback_tokenizer_json());
  const auto ids = tokenizer.encode("hello \u4f60", false);
  ASSERT_TRUE(ids);
  EXPECT_EQ(*ids, (Ids{*tokenizer.id_of("\u2581"), *tokenizer.id_of("hello"),
                       *tokenizer.id_of("\u2581"), byte_id(0xe4), byte_id(0xbd), byte_id(0xa0)}));
  EXPECT_EQ(*tokenizer.decode(*ids, true), "hello \u4f60");
}

TEST(Tokenizer, KnowsItsVocabulary) {
  const Tokenizer tokenizer = tiny(321);
  EXPECT_EQ(tokenizer.vocabulary_size(), 321u);
  EXPECT_EQ(tokenizer.id_of("</s>"), kTinyEos);
  EXPECT_EQ(tokenizer.id_of("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.token_of(kTinyUnk), "<unk>");
  EXPECT_EQ(tokenizer.token_of(321), std::nullopt);
  EXPECT_EQ(tokenizer.token_of(-1), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(kTinyEos));
  EXPECT_FALSE(tokenizer.is_special(byte_id('a')));
  EXPECT_FALSE(tokenizer.is_special(321));
}

TEST(Tokenizer, NamesTheByteThatIsNotUtf8) {
  const Tokenizer tokenizer = tiny();
  const auto ids = tokenizer.encode("ab\xc3(", false);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(ids.error().message, "text to tokenize: byte 2: expected UTF-8, got 0xc3");
}

TEST(Tokenizer, NamesTheIdThatIsNotInTheVocabulary) {
  const Tokenizer tokenizer = tiny(300);
  const auto text = tokenizer.decode(Ids{byte_id('a'), 300}, true);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(text.error().message,
            "tokenizer.json: id 300 at position 1: expected one of the 300 tokens of this "
            "vocabulary");
  EXPECT_FALSE(tokenizer.decode(Ids{-1}, true));
}

TEST(Tokenizer, IgnoresTruncationAndPadding) {
  std::string json = testing::tiny_tokenizer_json(300);
  const std::string plain = R"("truncation":null,"padding":null)";
  json.replace(
      json.find(plain), plain.size(),
      R"("truncation":{"direction":"Right","max_length":4,"strategy":"LongestFirst","stride":0},)"
      R"("padding":{"strategy":{"Fixed":16},"direction":"Right","pad_to_multiple_of":null,)"
      R"("pad_id":0,"pad_type_id":0,"pad_token":"<unk>"})");
  EXPECT_EQ(loaded(json).encode("ABCDEFGH", true)->size(), 9u);
}

TEST(Tokenizer, IsAnErrorWhereTheFileIsHostile) {
  const std::string good = testing::tiny_tokenizer_json(300);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string json = good;
    json.replace(json.find(from), from.size(), to);
    return json;
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "nothing"},
      {"{}", "no model"},
      {"[1,2,3]", "not an object"},
      {good.substr(0, good.size() / 2), "half a file"},
      {std::string(100000, '['), "deep nesting"},
      {"\xff\xfe" + good, "not UTF-8"},
      {replaced("\"type\":\"BPE\"", "\"type\":\"Nonsense\""), "an unknown model"},
      {replaced("[\"\\u0120\",\"a\"]", "[\"\\u0120\",\"zzz\"]"), "a merge of no token"},
      {replaced("\"</s>\":2", "\"</s>\":4000000000"), "an id beyond any vocabulary"},
      {replaced("\"</s>\":2", "\"</s>\":-1"), "a negative id"},
      {replaced("\"type\":\"ByteLevel\"",
                "\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
                "\"behavior\":\"Isolated\",\"invert\":false"),
       "a broken regex"},
  };
  for (const auto& [json, what] : cases) {
    const auto tokenizer = Tokenizer::from_json(json, "tokenizer.json");
    ASSERT_FALSE(tokenizer) << what;
    EXPECT_EQ(tokenizer.error().kind, Error::Kind::kFormat) << what;
    EXPECT_EQ(tokenizer.error().message.rfind("tokenizer.json: not a usable tokenizer.json: ", 0),
              0u)
        << tokenizer.error().message;
  }
}

}  // namespace
}  // namespace fptq::text
