#include "io/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace fptq::io {
namespace {

// <unk> <s> </s>, one byte token, the letters a b c, the space, and pieces made of them. "abc" can
// be made of "ab" + "c" and of "a" + "bc".
GgufVocabulary sentencepiece() {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>",    "</s>", "<0x0A>", "a",  "b",
                       "c",     "\u2581", "ab",   "bc",     "abc"};
  vocabulary.scores = {0, 0, 0, 0, -10, -11, -12, -13, -1, -2, -0.5f};
  vocabulary.token_types = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1};
  vocabulary.unk_id = 0;
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  return vocabulary;
}

GgufVocabulary byte_level() {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "smollm";
  vocabulary.tokens = {"<|end|>", "<|user|>", "a", "b", "\u0120", "\u0120a", "\u0120ab"};
  vocabulary.token_types = {3, 4, 1, 1, 1, 1, 1};
  vocabulary.merges = {"\u0120 a", "\u0120a b"};
  vocabulary.bos_id = 0;
  vocabulary.eos_id = 0;
  return vocabulary;
}

Json made(const GgufVocabulary& vocabulary) {
  const auto files = tokenizer_from_gguf(vocabulary, "m.gguf");
  EXPECT_TRUE(files) << files.error().message;
  return *parse_json(files->tokenizer_json, "tokenizer.json");
}

TEST(GgufTokenizer, OrdersMergesByScoreThenByTheLongerLeftPart) {
  const Json model = made(sentencepiece())["model"];
  EXPECT_EQ(model["merges"], Json::parse(R"([["ab", "c"], ["a", "bc"], ["a", "b"], ["b", "c"]])"));
  EXPECT_EQ(model["vocab"]["abc"], 10);
  EXPECT_EQ(model["unk_token"], "<unk>");
  EXPECT_EQ(model["byte_fallback"], true);
}

TEST(GgufTokenizer, PutsASpaceInFrontUnlessTheFileSaysNo) {
  GgufVocabulary vocabulary = sentencepiece();
  EXPECT_EQ(made(vocabulary)["normalizer"]["normalizers"][0]["type"], "Prepend");
  vocabulary.add_space_prefix = false;
  const Json json = made(vocabulary);
  EXPECT_EQ(json["normalizer"]["normalizers"].size(), 1u);
  EXPECT_EQ(json["decoder"]["decoders"].size(), 3u);  // nothing to strip
}

TEST(GgufTokenizer, AddsBosAndEosAsTheFileSays) {
  GgufVocabulary vocabulary = sentencepiece();
  const auto single = [&] { return made(vocabulary)["post_processor"]["single"]; };
  EXPECT_EQ(single().size(), 2u);  // the default: BOS only
  EXPECT_EQ(single()[0]["SpecialToken"]["id"], "<s>");
  vocabulary.add_eos = true;
  EXPECT_EQ(single().size(), 3u);
  EXPECT_EQ(single()[2]["SpecialToken"]["id"], "</s>");
  vocabulary.add_bos = false;
  vocabulary.add_eos = false;
  EXPECT_TRUE(made(vocabulary)["post_processor"].is_null());
}

TEST(GgufTokenizer, MakesOneEntryWhereBosAndEosAreTheSameToken) {
  GgufVocabulary vocabulary = byte_level();
  vocabulary.add_bos = true;
  vocabulary.add_eos = true;
  const Json processor = made(vocabulary)["post_processor"];
  EXPECT_EQ(processor["special_tokens"].size(), 1u);
  EXPECT_EQ(processor["single"].size(), 3u);
}

TEST(GgufTokenizer, KnowsControlAndUserDefinedTokens) {
  const Json added = made(byte_level())["added_tokens"];
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[0]["content"], "<|end|>");
  EXPECT_EQ(added[0]["special"], true);
  EXPECT_EQ(added[1]["content"], "<|user|>");
  EXPECT_EQ(added[1]["special"], false);
}

TEST(GgufTokenizer, FindsSpecialTokensBehindTextWhereThereIsAChatTemplate) {
  GgufVocabulary vocabulary = sentencepiece();
  EXPECT_EQ(made(vocabulary)["added_tokens"][2]["normalized"], true);
  vocabulary.chat_template = "{{ messages }}";
  EXPECT_EQ(made(vocabulary)["added_tokens"][2]["normalized"], false);
}

TEST(GgufTokenizer, DerivesTypesWhereTheFileHasNone) {
  GgufVocabulary vocabulary = sentencepiece();
  const Json with = made(vocabulary);
  vocabulary.token_types.clear();
  EXPECT_EQ(made(vocabulary), with);
}

TEST(GgufTokenizer, WritesTheOtherFiles) {
  GgufVocabulary vocabulary = byte_level();
  vocabulary.eot_id = 1;
  vocabulary.chat_template = "{{ 'x' }}";
  const auto files = tokenizer_from_gguf(vocabulary, "m.gguf");
  ASSERT_TRUE(files) << files.error().message;
  const Json config = *parse_json(files->others.at("tokenizer_config.json"), "");
  EXPECT_EQ(config["eos_token"], "<|end|>");
  EXPECT_EQ(config["chat_template"], "{{ 'x' }}");
  EXPECT_EQ(config["add_bos_token"], false);
  const Json generation = *parse_json(files->others.at("generation_config.json"), "");
  EXPECT_EQ(generation["eos_token_id"], Json::parse("[0, 1]"));
}

TEST(GgufTokenizer, CutsWordsAsTheNamedPretokenizerDoes) {
  GgufVocabulary vocabulary = byte_level();
  const auto stages = [&] { return made(vocabulary)["pre_tokenizer"]["pretokenizers"]; };
  EXPECT_EQ(stages()[0]["type"], "Digits");
  EXPECT_EQ(stages()[1]["use_regex"], true);
  vocabulary.pre = "gpt-2";
  EXPECT_EQ(stages().size(), 1u);
  vocabulary.pre = "qwen2";
  EXPECT_EQ(made(vocabulary)["normalizer"]["type"], "NFC");
  vocabulary.pre = "llama-bpe";
  EXPECT_EQ(stages()[0]["type"], "Split");
  EXPECT_EQ(stages()[1]["use_regex"], false);
  EXPECT_EQ(made(vocabulary)["model"]["ignore_merges"], true);
  EXPECT_FALSE(made(vocabulary)["post_processor"].is_null());  // Llama 3 adds BOS
}

TEST(Llama2cTokenizer, IsASentencePieceVocabularyWithSpacesWrittenOut) {
  const std::vector<std::string> tokens = {"<unk>", "\n<s>\n", "\n</s>\n", "<0x0A>",
                                           " ",     "a",       " a"};
  const std::vector<float> scores = {0, 0, 0, 0, -2, -3, -1};
  const auto files = tokenizer_from_llama2c(tokens, scores, "tokenizer.bin");
  ASSERT_TRUE(files) << files.error().message;
  const Json json = *parse_json(files->tokenizer_json, "");
  EXPECT_EQ(json["model"]["merges"], Json::parse("[[\"\u2581\", \"a\"]]"));
  EXPECT_EQ(json["model"]["vocab"]["</s>"], 2);
  EXPECT_EQ(json["added_tokens"].size(), 3u);
}

TEST(Llama2cTokenizer, NeedsItsThreeSpecialTokens) {
  const auto files = tokenizer_from_llama2c(std::vector<std::string>{"a"}, {}, "t.bin");
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().message, "t.bin: expected at least 3 tokens, got 1");
}

TEST(GgufTokenizer, NamesWhatIsWrong) {
  struct Case {
    GgufVocabulary vocabulary;
    std::function<void(GgufVocabulary&)> harm;
    Error::Kind kind;
    std::string message;
  };
  const auto format = Error::Kind::kFormat;
  const std::vector<Case> cases = {
      {sentencepiece(), [](auto& v) { v.model = "bert"; }, Error::Kind::kUnsupported,
       R"(tokenizer.ggml.model: expected "llama" or "gpt2", got "bert")"},
      {sentencepiece(), [](auto& v) { v.tokens.clear(); }, format,
       "tokenizer.ggml.tokens: expected 1 to 16777216 tokens, got 0"},
      {sentencepiece(), [](auto& v) { v.scores.pop_back(); }, format,
       "tokenizer.ggml.scores: expected 11 values, as many as tokens, got 10"},
      {sentencepiece(), [](auto& v) { v.token_types.pop_back(); }, format,
       "tokenizer.ggml.token_type: expected 11 values, as many as tokens, got 10"},
      {sentencepiece(), [](auto& v) { v.bos_id = 11; }, format,
       "tokenizer.ggml.bos_token_id: expected an id below 11, got 11"},
      {sentencepiece(), [](auto& v) { v.eos_id = -1; }, format,
       "tokenizer.ggml.eos_token_id: expected an id below 11, got -1"},
      {sentencepiece(), [](auto& v) { v.tokens[5] = "a"; }, format,
       R"(token 5 "a": expected a text of its own, got that of token 4)"},
      {sentencepiece(), [](auto& v) { v.tokens[5] = "b\xff"; }, format,
       "token 5: byte 1 is not UTF-8"},
      {sentencepiece(), [](auto& v) { v.tokens[5] = std::string(2000, 'x'); }, format,
       "token 5: expected at most 1024 bytes, got 2000"},
      {sentencepiece(), [](auto& v) { v.scores[5] = std::numeric_limits<float>::quiet_NaN(); },
       format, "tokenizer.ggml.scores: value 5: expected a finite number, got nan"},
      {sentencepiece(), [](auto& v) { v.chat_template = "\xc0"; }, format,
       "tokenizer.chat_template: byte 0 is not UTF-8"},
      {byte_level(), [](auto& v) { v.merges[1] = "ab"; }, format,
       "tokenizer.ggml.merges: line 1: expected two tokens, a space between them, whose joined "
       "text is a token, got \"ab\""},
      {byte_level(), [](auto& v) { v.merges[0] = "b a"; }, format,
       "tokenizer.ggml.merges: line 0: expected two tokens, a space between them, whose joined "
       "text is a token, got \"b a\""},
      {byte_level(), [](auto& v) { v.merges[0] = ""; }, format,
       "tokenizer.ggml.merges: line 0: expected two tokens, a space between them, whose joined "
       "text is a token, got \"\""},
  };
  for (const Case& test : cases) {
    GgufVocabulary vocabulary = test.vocabulary;
    test.harm(vocabulary);
    const auto files = tokenizer_from_gguf(vocabulary, "m.gguf");
    ASSERT_FALSE(files) << test.message;
    EXPECT_EQ(files.error().kind, test.kind);
    EXPECT_EQ(files.error().message, "m.gguf: " + test.message);
  }
}

TEST(GgufTokenizer, NamesAnUnknownPretokenizer) {
  GgufVocabulary vocabulary = byte_level();
  vocabulary.pre = "no-such-pre";
  const auto unknown = tokenizer_from_gguf(vocabulary, "m.gguf");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, Error::Kind::kUnsupported);
  EXPECT_EQ(unknown.error().message.rfind("m.gguf: tokenizer.ggml.pre: expected one of gpt-2, ", 0),
            0u);
  EXPECT_NE(unknown.error().message.find("got \"no-such-pre\""), std::string::npos);
  vocabulary.pre.clear();
  EXPECT_NE(tokenizer_from_gguf(vocabulary, "m").error().message.find("got none"),
            std::string::npos);
}

}  // namespace
}  // namespace fptq::io
