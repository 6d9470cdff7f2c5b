// A vocabulary taken out of a model file must give the ids of the model's own tokenizer.json.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "io/gguf_tokenizer.h"
#include "io/spm_merges.h"
#include "support/test_data.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

using io::GgufTokenType;
using io::GgufVocabulary;
using text::Tokenizer;

std::string contents(const std::string& path) {
  std::ifstream file(testing::test_data_dir() / path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

Tokenizer loaded(const std::string& json) {
  auto tokenizer = Tokenizer::from_json(json, "tokenizer.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

Tokenizer made_from(const GgufVocabulary& vocabulary) {
  const auto files = io::tokenizer_from_gguf(vocabulary, "vocabulary");
  EXPECT_TRUE(files) << files.error().message;
  return loaded(files->tokenizer_json);
}

// The strings of golden/tokenizer/NAME.jsonl, each with its line.
std::vector<nlohmann::json> golden(const std::string& name) {
  std::vector<nlohmann::json> rows;
  std::istringstream lines(contents("golden/tokenizer/" + name + ".jsonl"));
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  EXPECT_EQ(rows.size(), 503u);
  return rows;
}

void expect_golden_ids(const Tokenizer& tokenizer, const std::string& name) {
  for (const auto& row : golden(name)) {
    const auto string = row["text"].get<std::string>();
    const auto with = *tokenizer.encode(string, true);
    EXPECT_EQ(with, row["ids_with_special"].get<std::vector<text::TokenId>>()) << string;
    EXPECT_EQ(*tokenizer.encode(string, false),
              row["ids_without_special"].get<std::vector<text::TokenId>>())
        << string;
    EXPECT_EQ(*tokenizer.decode(with, true), row["decoded_skip_special"].get<std::string>());
  }
}

// The pieces of a SentencePiece model: a protobuf whose field 1, repeated, is a piece with the
// fields text = 1, score = 2 (float32), type = 3 (1 where absent).
class SentencePieceReader {
 public:
  explicit SentencePieceReader(std::string_view bytes) : bytes_(bytes) {}

  GgufVocabulary read() {
    GgufVocabulary vocabulary;
    vocabulary.model = "llama";
    while (!bytes_.empty()) {
      const std::uint64_t key = varint();
      const std::string_view value = field(key & 7);
      if (key >> 3 != 1) continue;
      SentencePieceReader piece(value);
      vocabulary.tokens.emplace_back();
      vocabulary.scores.push_back(0);
      vocabulary.token_types.push_back(GgufTokenType::kNormal);
      while (!piece.bytes_.empty()) piece.read_piece_field(vocabulary);
    }
    vocabulary.unk_id = 0;
    vocabulary.bos_id = 1;
    vocabulary.eos_id = 2;
    return vocabulary;
  }

 private:
  void read_piece_field(GgufVocabulary& vocabulary) {
    const std::uint64_t key = varint();
    if (key >> 3 == 3) {
      vocabulary.token_types.back() = static_cast<std::int32_t>(varint());
      return;
    }
    const std::string_view value = field(key & 7);
    if (key >> 3 == 1) vocabulary.tokens.back() = value;
    if (key >> 3 == 2) std::memcpy(&vocabulary.scores.back(), value.data(), sizeof(float));
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(bytes_.at(0));
      bytes_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
  }

  std::string_view field(std::uint64_t wire_type) {
    if (wire_type == 0) {
      varint();
      return {};
    }
    const std::size_t size = wire_type == 2 ? varint() : wire_type == 5 ? 4 : 8;
    const std::string_view value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return value;
  }

  std::string_view bytes_;
};

// What a converter would have put into a GGUF file for a byte-level tokenizer.json.
GgufVocabulary byte_level_vocabulary(const std::string& tokenizer_json, const std::string& pre) {
  const auto json = nlohmann::json::parse(tokenizer_json);
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = pre;
  const auto add = [&](const std::string& token, std::size_t id, std::int32_t type) {
    if (id >= vocabulary.tokens.size()) {
      vocabulary.tokens.resize(id + 1);
      vocabulary.token_types.resize(id + 1, GgufTokenType::kNormal);
    }
    vocabulary.tokens[id] = token;
    vocabulary.token_types[id] = type;
  };
  for (const auto& [token, id] : json["model"]["vocab"].items()) {
    add(token, id.get<std::size_t>(), GgufTokenType::kNormal);
  }
  for (const auto& token : json["added_tokens"]) {
    add(token["content"], token["id"].get<std::size_t>(), GgufTokenType::kControl);
  }
  for (const auto& merge : json["model"]["merges"]) {
    vocabulary.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                                  : merge[0].get<std::string>() + " " +
                                                        merge[1].get<std::string>());
  }
  return vocabulary;
}

TEST(VocabularyGolden, SentencePieceScoresGiveTheIdsOfLlama2) {
  FPTQ_REQUIRE_TEST_DATA("tokenizers/llama2/tokenizer.model");
  const std::string model = contents("tokenizers/llama2/tokenizer.model");
  const GgufVocabulary vocabulary = SentencePieceReader(model).read();
  ASSERT_EQ(vocabulary.tokens.size(), 32000u);
  expect_golden_ids(made_from(vocabulary), "llama2");
}

TEST(VocabularyGolden, Llama2cSpellingGivesTheIdsOfLlama2) {
  FPTQ_REQUIRE_TEST_DATA("tokenizers/llama2/tokenizer.model");
  const std::string model = contents("tokenizers/llama2/tokenizer.model");
  const GgufVocabulary vocabulary = SentencePieceReader(model).read();
  // As llama2.c's first exporter wrote them: spaces as spaces, bytes as characters.
  std::vector<std::string> tokens;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    std::string token;
    if (vocabulary.token_types[id] == GgufTokenType::kByte) {
      const auto byte = static_cast<unsigned>(id - 3);
      if (byte < 0x80) {
        token = {static_cast<char>(byte)};
      } else {
        token = {static_cast<char>(0xc0 | (byte >> 6)), static_cast<char>(0x80 | (byte & 0x3f))};
      }
    } else {
      token = vocabulary.tokens[id];
      const std::string_view space = "\u2581";
      for (std::size_t at = 0; (at = token.find(space, at)) != std::string::npos;) {
        token.replace(at, space.size(), " ");
      }
    }
    tokens.push_back(token);
  }
  const auto files = io::tokenizer_from_llama2c(tokens, vocabulary.scores, "tokenizer.bin");
  ASSERT_TRUE(files) << files.error().message;
  expect_golden_ids(loaded(files->tokenizer_json), "llama2");
}

TEST(VocabularyGolden, MergesGiveTheIdsOfSmolLm2) {
  FPTQ_REQUIRE_TEST_DATA("tokenizers/smollm2/tokenizer.json");
  GgufVocabulary vocabulary =
      byte_level_vocabulary(contents("tokenizers/smollm2/tokenizer.json"), "smollm");
  vocabulary.unk_id = 0;  // as its published GGUF files say; still, unknown bytes vanish
  expect_golden_ids(made_from(vocabulary), "smollm2");
}

TEST(VocabularyGolden, MergesGiveTheIdsOfLlama3) {
  FPTQ_REQUIRE_TEST_DATA("tokenizers/llama3/tokenizer.json");
  GgufVocabulary vocabulary =
      byte_level_vocabulary(contents("tokenizers/llama3/tokenizer.json"), "llama-bpe");
  vocabulary.bos_id = 128000;
  vocabulary.eos_id = 128001;
  expect_golden_ids(made_from(vocabulary), "llama3");
}

TEST(VocabularyGolden, AGgufFileTokenizesAsTheCheckpointItWasMadeOf) {
  FPTQ_REQUIRE_TEST_DATA("golden/formats/gguf/stories-656k.q8_0.gguf");
  const auto checkpoint =
      io::open_checkpoint(testing::test_data_dir() / "golden/formats/gguf/stories-656k.q8_0.gguf");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto files = (*checkpoint)->tokenizer();
  ASSERT_TRUE(files) << files.error().message;
  const Tokenizer made = loaded(files->tokenizer_json);
  const Tokenizer original = loaded(contents("models/stories-656k/tokenizer.json"));
  std::vector<std::string> strings = {"<|start_story|>a<|end_story|>", "<unk> <|end_story|>"};
  for (const auto& row : golden("llama2")) strings.push_back(row["text"]);
  for (const std::string& string : strings) {
    const auto ids = *made.encode(string, true);
    EXPECT_EQ(ids, *original.encode(string, true)) << string;
    EXPECT_EQ(*made.decode(ids, true), *original.decode(ids, true)) << string;
  }
}

}  // namespace
}  // namespace fptq
