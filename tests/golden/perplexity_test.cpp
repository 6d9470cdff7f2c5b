// Perplexities against transformers and lm-evaluation-harness (golden/ppl in the test data).

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "eval/model_logits.h"
#include "eval/perplexity.h"
#include "eval/text_model.h"
#include "golden/model_fixture.h"
#include "support/test_data.h"

namespace fptq::eval {
namespace {

// Of a perplexity and of a window's negative log-likelihood. The references were computed in
// float32 too, with another order of summation; their own bound is 5e-6 and 2e-5.
constexpr double kTolerance = 1e-4;

struct Case {
  const char* golden;  // file of golden/ppl
  const char* model;   // directory of models
  const char* text;    // file of data
  Protocol protocol;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.golden;
}

// The first max_bytes of a text, without the character that the cut may split.
std::string head_of(std::string text, std::size_t max_bytes) {
  if (text.size() > max_bytes) text.resize(max_bytes);
  if (const auto offset = invalid_utf8_at(text)) text.resize(*offset);
  return text;
}

// Measures as the golden file was made and compares everything that it holds.
void expect_golden(const std::filesystem::path& model_path, const Case& c) {
  const std::filesystem::path data = testing::test_data_dir();
  const auto golden_text = read_text_file(data / "golden/ppl" / (std::string(c.golden) + ".json"));
  ASSERT_TRUE(golden_text) << golden_text.error().message;
  const auto golden = parse_json(*golden_text, c.golden);
  ASSERT_TRUE(golden) << golden.error().message;
  const Json& made_with = (*golden)["options"];

  auto text = read_text_file(data / "data" / c.text);
  ASSERT_TRUE(text) << text.error().message;
  if (made_with.contains("bytes")) {
    *text = head_of(*text, std::stoul(made_with["bytes"].get<std::string>()));
  }

  auto model = testing::load_model(model_path);
  ASSERT_TRUE(model);
  const auto checkpoint = io::open_checkpoint(model_path);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto files = (*checkpoint)->tokenizer();
  ASSERT_TRUE(files) << files.error().message;
  const auto tokenizer = text::Tokenizer::from_json(files->tokenizer_json, "tokenizer");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto special =
      text::special_tokens(files->others, (*checkpoint)->config(), *tokenizer, "tokenizer");
  ASSERT_TRUE(special) << special.error().message;

  ModelLogits logits(*model);
  const TextModel text_model =
      make_text_model(logits, *tokenizer, *special, model->config().max_positions);
  PerplexityOptions options;
  options.protocol = c.protocol;
  options.context = std::stoul(made_with["len"].get<std::string>());
  options.documents = made_with.contains("rows") ? DocumentMode::kWikitext : DocumentMode::kWhole;
  if (made_with.contains("last")) {
    options.max_windows = std::stoul(made_with["last"].get<std::string>());
  }
  const auto result =
      measure_perplexity(text_model, testing::golden_pool(), *text, c.text, options);
  ASSERT_TRUE(result) << result.error().message;

  EXPECT_EQ(result->tokens, (*golden)["scored_tokens"].get<std::size_t>());
  const auto expected_nll = (*golden)["total_nll"].get<double>();
  EXPECT_NEAR(result->nll, expected_nll, kTolerance * expected_nll);
  const Json& windows = (*golden)["nll_per_chunk"];
  ASSERT_EQ(result->window_nll.size(), windows.size());
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const auto expected = windows[i].get<double>();
    EXPECT_NEAR(result->window_nll[i], expected, kTolerance * expected) << "window " << i;
  }
  const bool by_word = c.protocol == Protocol::kLmEval;
  const auto expected = (*golden)[by_word ? "word_perplexity" : "ppl"].get<double>();
  EXPECT_NEAR(result->value, expected, kTolerance * expected);
  if (!by_word) return;
  EXPECT_EQ(*result->words, (*golden)["words"].get<std::size_t>());
  EXPECT_EQ(*result->bytes, (*golden)["bytes"].get<std::size_t>());
  EXPECT_NEAR(*result->byte_perplexity, (*golden)["byte_perplexity"].get<double>(), kTolerance);
  EXPECT_NEAR(*result->bits_per_byte, (*golden)["bits_per_byte"].get<double>(), kTolerance);
}

class GoldenPerplexity : public ::testing::TestWithParam<Case> {};

TEST_P(GoldenPerplexity, MatchesTheReference) {
#if defined(FPTQ_SANITIZED)
  if (std::string_view(GetParam().model) == "stories15m") {
    GTEST_SKIP() << "takes about ten minutes under a sanitizer; stories-656k runs the same code";
  }
#endif
  FPTQ_REQUIRE_TEST_DATA("golden/ppl");
  expect_golden(testing::test_data_dir() / "models" / GetParam().model, GetParam());
}

constexpr const char* kStories = "tinystories/TinyStories-valid.head.txt";

INSTANTIATE_TEST_SUITE_P(
    Models, GoldenPerplexity,
    ::testing::Values(
        Case{"stories-656k.tinystories60k.gptq", "stories-656k", kStories, Protocol::kGptq},
        Case{"stories-656k.tinystories60k.llamacpp", "stories-656k", kStories, Protocol::kLlamaCpp},
        Case{"stories-656k.tinystories60k.rolling", "stories-656k", kStories, Protocol::kLmEval},
        Case{"stories15m.tinystories60k.gptq", "stories15m", kStories, Protocol::kGptq},
        Case{"stories15m.tinystories60k.llamacpp", "stories15m", kStories, Protocol::kLlamaCpp},
        Case{"stories15m.tinystories60k.rolling", "stories15m", kStories, Protocol::kLmEval}),
    [](const auto& parameter) {
      std::string name = parameter.param.golden;
      for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
      return name;
    });

// Minutes long, and its model is not among the test data.
TEST(GoldenPerplexityOfSmolLm2, MatchesTheReference) {
  const char* path = std::getenv("FPTQ_SMOLLM2_GGUF");
  if (path == nullptr) {
    GTEST_SKIP() << "FPTQ_SMOLLM2_GGUF names no SmolLM2-135M-Instruct.Q4_1.gguf";
  }
  FPTQ_REQUIRE_TEST_DATA("golden/ppl");
  expect_golden(path, {"smollm2-135m.wikitext2test.gptq1024.chunks0-20", "",
                       "wikitext-2-raw/wiki.test.raw", Protocol::kGptq});
}

}  // namespace
}  // namespace fptq::eval
