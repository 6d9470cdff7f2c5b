#include "text/special_tokens.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/tiny_tokenizer.h"

namespace fptq::text {
namespace {

using testing::kTinyBos;
using testing::kTinyEos;
using testing::kTinyUnk;
using Files = std::map<std::string, std::string>;
using Ids = std::vector<TokenId>;

// The tiny tokenizer, with one of its special tokens renamed.
Tokenizer tiny(const std::string& unk = "<unk>") {
  std::string json = testing::tiny_tokenizer_json(300);
  for (std::size_t at = 0; (at = json.find("\"<unk>\"", at)) != std::string::npos; ++at) {
    json.replace(at, 7, "\"" + unk + "\"");
  }
  auto tokenizer = Tokenizer::from_json(json, "tokenizer.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

Result<SpecialTokens> found(const Files& files, const std::string& config = "{}",
                            const Tokenizer& tokenizer = tiny()) {
  return special_tokens(files, Json::parse(config), tokenizer, "m");
}

TEST(SpecialTokens, ReadsNamesFromTheTokenizersConfig) {
  const auto tokens = found({{"tokenizer_config.json",
                              R"({"bos_token": "<s>", "eos_token": {"content": "</s>"},
                                  "pad_token": null, "unk_token": "not in the vocabulary"})"}});
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->bos, kTinyBos);
  EXPECT_EQ(tokens->stops, Ids{kTinyEos});
  EXPECT_EQ(tokens->pad, std::nullopt);
  EXPECT_TRUE(tokens->encode_adds_bos);
  EXPECT_EQ(tokens->names,
            (std::map<std::string, std::string>{{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
}

TEST(SpecialTokens, CollectsStopsFromEveryFile) {
  const auto tokens =
      found({{"tokenizer_config.json", R"({"eos_token": "</s>"})"},
             {"generation_config.json", R"({"eos_token_id": [5, 2], "bos_token_id": 1})"}},
            R"({"eos_token_id": 7, "bos_token_id": 9})");
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->stops, (Ids{2, 5, 7}));
  EXPECT_EQ(tokens->bos, 1);  // the first file that says it
}

TEST(SpecialTokens, NamesTokensThatAreOnlyGivenById) {
  const auto tokens = found({}, R"({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})");
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->names.at("eos_token"), "</s>");
  EXPECT_EQ(tokens->pad, kTinyUnk);
}

TEST(SpecialTokens, AddsTheEndsOfTurnsThatFilesForget) {
  const auto tokens = found({}, R"({"eos_token_id": 2})", tiny("<|eot_id|>"));
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->stops, Ids{2});
  EXPECT_EQ(tokens->chat_stops, (Ids{0, 2}));
}

TEST(SpecialTokens, TakesNegativeIdsForNone) {
  const auto tokens = found({}, R"({"pad_token_id": -1, "bos_token_id": -1, "eos_token_id": 2})");
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->bos, std::nullopt);
  EXPECT_FALSE(tokens->encode_adds_bos);
  EXPECT_TRUE(found({}, R"({"pad_token_id": 300})"));
}

TEST(SpecialTokens, KeepsAnEndOfTextBehindTheVocabulary) {
  const auto tokens = found({}, R"({"eos_token_id": [2, 300]})");
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->stops, (Ids{2, 300}));
}

TEST(SpecialTokens, NamesTheFileAndKeyThatIsWrong) {
  const std::vector<std::pair<Files, std::string>> cases = {
      {{{"tokenizer_config.json", R"({"eos_token": 3})"}},
       "m/tokenizer_config.json: eos_token: expected a string or {\"content\": string}"},
      {{{"generation_config.json", R"({"bos_token_id": 300})"}},
       "m/generation_config.json: bos_token_id: expected an id below 300, got 300"},
      {{{"generation_config.json", R"({"eos_token_id": [2, 3000000000]})"}},
       "m/generation_config.json: eos_token_id: expected an id below 300, got 3000000000"},
      {{{"generation_config.json", R"({"eos_token_id": "</s>"})"}},
       "m/generation_config.json: eos_token_id: expected an id below 300, got \"</s>\""},
      {{{"special_tokens_map.json", "[]"}}, "m/special_tokens_map.json: expected an object"},
  };
  for (const auto& [files, message] : cases) {
    const auto tokens = found(files);
    ASSERT_FALSE(tokens) << message;
    EXPECT_EQ(tokens.error().kind, Error::Kind::kFormat);
    EXPECT_EQ(tokens.error().message, message);
  }
  EXPECT_FALSE(found({{"tokenizer_config.json", "{"}}));
}

}  // namespace
}  // namespace fptq::text
