// Every vector that the reference implementation gave for three published tokenizers.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "support/test_data.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace fptq::text {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class TokenizerGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(TokenizerGolden, EqualsTheReferenceOnEveryString) {
  const std::string name = GetParam();
  FPTQ_REQUIRE_TEST_DATA("golden/tokenizer/" + name + ".jsonl");
  const std::filesystem::path data = testing::test_data_dir();
  const auto tokenizer = Tokenizer::from_json(
      contents(data / "tokenizers" / name / "tokenizer.json"), name + "/tokenizer.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;

  std::ifstream lines(data / "golden" / "tokenizer" / (name + ".jsonl"));
  std::size_t checked = 0;
  for (std::string line; std::getline(lines, line); ++checked) {
    const auto row = nlohmann::json::parse(line);
    const auto text = row["text"].get<std::string>();
    SCOPED_TRACE(name + " line " + std::to_string(checked + 1));
    const auto with = tokenizer->encode(text, true);
    const auto without = tokenizer->encode(text, false);
    ASSERT_TRUE(with) << with.error().message;
    ASSERT_TRUE(without) << without.error().message;
    EXPECT_EQ(*with, row["ids_with_special"].get<std::vector<TokenId>>());
    EXPECT_EQ(*without, row["ids_without_special"].get<std::vector<TokenId>>());
    EXPECT_EQ(*tokenizer->decode(*without, false), row["decoded"].get<std::string>());
    EXPECT_EQ(*tokenizer->decode(*with, true), row["decoded_skip_special"].get<std::string>());
  }
  EXPECT_EQ(checked, 503u);
}

TEST_P(TokenizerGolden, StreamsTheReferencesPieces) {
  const std::string name = GetParam();
  FPTQ_REQUIRE_TEST_DATA("golden/tokenizer/" + name + ".stream.json");
  const std::filesystem::path data = testing::test_data_dir();
  const auto tokenizer = Tokenizer::from_json(
      contents(data / "tokenizers" / name / "tokenizer.json"), name + "/tokenizer.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;

  const auto cases =
      nlohmann::json::parse(contents(data / "golden" / "tokenizer" / (name + ".stream.json")));
  ASSERT_FALSE(cases.empty());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(name + " case " + std::to_string(i));
    const auto ids = cases[i]["ids"].get<std::vector<TokenId>>();
    const auto expected = cases[i]["pieces"].get<std::vector<std::string>>();
    const auto text = cases[i]["text"].get<std::string>();
    StreamDecoder decoder(*tokenizer);
    std::vector<std::string> pieces;
    std::string joined;
    for (const TokenId id : ids) {
      pieces.push_back(*decoder.push(id));
      joined += pieces.back();
    }
    EXPECT_EQ(pieces, expected);
    EXPECT_EQ(joined + *decoder.flush(), text);
    EXPECT_EQ(*tokenizer->decode(ids, true), text);
    for (std::size_t n = 1; n <= ids.size(); ++n) {
      EXPECT_EQ(*tokenizer->decode(std::span(ids).first(n), true),
                cases[i]["prefix_decodes"][n - 1].get<std::string>());
      EXPECT_EQ(*tokenizer->decode(std::span(ids).subspan(n - 1, 1), false),
                cases[i]["each_alone"][n - 1].get<std::string>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Published, TokenizerGolden,
                         ::testing::Values("llama2", "llama3", "smollm2"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace fptq::text
