#include "eval/published.h"

#include <gtest/gtest.h>

#include <span>

#include "base/file.h"
#include "base/sha256.h"
#include "eval/wikitext.h"
#include "support/test_data.h"

namespace fptq::eval {
namespace {

constexpr const char* kRawSha256 =
    "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08";
constexpr const char* kRowsSha256 =
    "696cca6b65a171b0a358a4be6732cdfdf2dd6164a32e20fd70e3c13fc4dfae83";

model::LlamaConfig shape(std::size_t hidden, std::size_t layers, std::size_t vocabulary,
                         std::size_t positions) {
  model::LlamaConfig config{};
  config.hidden_size = hidden;
  config.num_layers = layers;
  config.vocab_size = vocabulary;
  config.max_positions = positions;
  return config;
}

Perplexity wikitext(Protocol protocol, std::size_t context) {
  Perplexity measured;
  measured.protocol = protocol;
  measured.context = context;
  measured.documents = DocumentMode::kWikitext;
  measured.text_sha256 = kRawSha256;
  return measured;
}

TEST(Published, FindsTheFigureOfAModelUnderTheSameProtocol) {
  const model::LlamaConfig llama2 = shape(4096, 32, 32000, 4096);
  const auto gptq = published_perplexities(llama2, wikitext(Protocol::kGptq, 2048));
  ASSERT_EQ(gptq.size(), 1u);
  EXPECT_EQ(gptq[0].model, "Llama-2-7B");
  EXPECT_EQ(gptq[0].precision, "fp16");
  EXPECT_EQ(gptq[0].value, 5.47);
  EXPECT_EQ(gptq[0].source, "AWQ, arXiv:2306.00978");
  const auto lm_eval = published_perplexities(llama2, wikitext(Protocol::kLmEval, 4096));
  ASSERT_EQ(lm_eval.size(), 1u);
  EXPECT_EQ(lm_eval[0].value, 8.7071);
  const auto llamacpp =
      published_perplexities(shape(4096, 32, 128256, 8192), wikitext(Protocol::kLlamaCpp, 512));
  ASSERT_EQ(llamacpp.size(), 1u);
  EXPECT_EQ(llamacpp[0].value, 6.2332);
}

TEST(Published, TellsModelsApartByTheirPositions) {
  const Perplexity measured = wikitext(Protocol::kGptq, 2048);
  EXPECT_EQ(published_perplexities(shape(4096, 32, 128256, 8192), measured)[0].value, 6.14);
  EXPECT_EQ(published_perplexities(shape(4096, 32, 128256, 131072), measured)[0].value, 6.24);
}

TEST(Published, GivesBaseAndTunedModelOfOneShape) {
  const auto found =
      published_perplexities(shape(2048, 16, 128256, 131072), wikitext(Protocol::kGptq, 2048));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].model, "Llama-3.2-1B");
  EXPECT_EQ(found[1].model, "Llama-3.2-1B-Instruct");
}

TEST(Published, HasNothingForAnotherContextTextOrModel) {
  const model::LlamaConfig llama2 = shape(4096, 32, 32000, 4096);
  EXPECT_TRUE(published_perplexities(llama2, wikitext(Protocol::kGptq, 512)).empty());
  EXPECT_TRUE(published_perplexities(llama2, wikitext(Protocol::kLlamaCpp, 2048)).empty());
  EXPECT_TRUE(
      published_perplexities(shape(64, 2, 320, 256), wikitext(Protocol::kGptq, 2048)).empty());
  Perplexity other = wikitext(Protocol::kGptq, 2048);
  other.text_sha256 = "0";
  EXPECT_TRUE(published_perplexities(llama2, other).empty());
}

TEST(Published, RecognizesTheTextAsEachProtocolCutsIt) {
  EXPECT_TRUE(is_wikitext2_test(wikitext(Protocol::kGptq, 2048)));
  Perplexity whole = wikitext(Protocol::kGptq, 2048);
  whole.documents = DocumentMode::kWhole;
  EXPECT_FALSE(is_wikitext2_test(whole));
  whole.text_sha256 = kRowsSha256;
  EXPECT_TRUE(is_wikitext2_test(whole));
  whole.protocol = Protocol::kLmEval;
  EXPECT_FALSE(is_wikitext2_test(whole));
  Perplexity bytes = wikitext(Protocol::kLlamaCpp, 512);
  bytes.documents = DocumentMode::kWhole;
  EXPECT_TRUE(is_wikitext2_test(bytes));
  Perplexity part = wikitext(Protocol::kGptq, 2048);
  part.all_windows = false;
  EXPECT_FALSE(is_wikitext2_test(part));
}

TEST(Published, SaysUnderWhatConditionsFiguresArePublished) {
  EXPECT_EQ(published_conditions(Protocol::kLlamaCpp),
            "WikiText-2 test (wiki.test.raw), --ctx 512");
}

TEST(Published, KnowsTheHashesOfTheTestSplit) {
  FPTQ_REQUIRE_TEST_DATA("data/wikitext-2-raw/wiki.test.raw");
  const auto text = read_text_file(testing::test_data_dir() / "data/wikitext-2-raw/wiki.test.raw");
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(sha256_hex(std::as_bytes(std::span(*text))), kRawSha256);
  const std::string rows = wikitext_rows(*text);
  EXPECT_EQ(sha256_hex(std::as_bytes(std::span(rows))), kRowsSha256);
}

}  // namespace
}  // namespace fptq::eval
