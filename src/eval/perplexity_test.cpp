#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "eval/fake_model.h"

namespace fptq::eval {
namespace {

using testing::BigramModel;
using Ids = std::vector<TokenId>;

// After 'a' (2) the tokens 2 and 3 have 3/4 and 1/4; after 'b' (3) the reverse; after BOS (1)
// they have 1/2 each. Tokens 0 and 1 are never predicted.
BigramModel alternating_model() {
  constexpr float kNever = -1e9f;
  const float log3 = std::log(3.0f);
  return BigramModel(4, {kNever, kNever, 0.0f, 0.0f,  //
                         kNever, kNever, 0.0f, 0.0f,  //
                         kNever, kNever, log3, 0.0f,  //
                         kNever, kNever, 0.0f, log3});
}

Result<Perplexity> measure(const TextModel& model, std::string_view text, Protocol protocol,
                           std::size_t context = 0, std::size_t max_windows = 0) {
  ThreadPool pool(2);
  PerplexityOptions options;
  options.protocol = protocol;
  options.context = context;
  options.max_windows = max_windows;
  return measure_perplexity(model, pool, text, "text.txt", options);
}

TEST(Perplexity, OfEqualProbabilitiesIsTheSizeOfTheVocabulary) {
  BigramModel model(30);
  const auto result = measure(model.text_model(true, 4), "abcdefgh", Protocol::kGptq);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_NEAR(result->value, 30.0, 1e-12);
  EXPECT_NEAR(*result->standard_error, 0.0, 1e-12);
  EXPECT_EQ(result->tokens, 6u);
  EXPECT_EQ(result->context, 4u);
  EXPECT_EQ(result->window_nll.size(), 2u);
}

TEST(Perplexity, GptqKeepsBosInTheFirstBlockOnly) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(true, 4), "aabbab", Protocol::kGptq);
  ASSERT_TRUE(result) << result.error().message;
  // BOS a a b | b a b, the last block incomplete. p = 1/2, 3/4, 1/4.
  EXPECT_EQ(model.sequences, (std::vector<Ids>{{1, 2, 2}}));
  EXPECT_EQ(model.total_lengths, std::vector<std::size_t>{3});
  EXPECT_NEAR(result->nll, -std::log(0.5 * 0.75 * 0.25), 1e-6);
  EXPECT_NEAR(result->value, std::pow(0.5 * 0.75 * 0.25, -1.0 / 3.0), 1e-6);
  EXPECT_FALSE(result->words.has_value());
  EXPECT_FALSE(result->bits_per_byte.has_value());
}

TEST(Perplexity, StandardErrorIsThatOfTheMeanTimesTheValue) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(true, 4), "aab", Protocol::kGptq);
  ASSERT_TRUE(result) << result.error().message;
  const double a = std::log(2.0);
  const double b = std::log(4.0 / 3.0);
  const double c = std::log(4.0);
  const double mean = (a + b + c) / 3.0;
  const double variance =
      ((a - mean) * (a - mean) + (b - mean) * (b - mean) + (c - mean) * (c - mean)) / 2.0;
  EXPECT_NEAR(*result->standard_error, std::exp(mean) * std::sqrt(variance / 3.0), 1e-6);
}

TEST(Perplexity, LlamaCppBeginsEveryBlockWithBos) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(true, 256), "aaabbbba", Protocol::kLlamaCpp, 4);
  ASSERT_TRUE(result) << result.error().message;
  // BOS a a a | b b b b, the second block fed as BOS b b; of each the last token is scored.
  EXPECT_EQ(model.sequences, (std::vector<Ids>{{1, 2, 2}, {1, 3, 3}}));
  EXPECT_EQ(result->tokens, 2u);
  EXPECT_NEAR(result->value, 4.0 / 3.0, 1e-6);
}

TEST(Perplexity, LlamaCppReplacesNothingWhereTheTokenizerAddsNoBos) {
  BigramModel model = alternating_model();
  ASSERT_TRUE(measure(model.text_model(false, 256), "aaabbbba", Protocol::kLlamaCpp, 4));
  EXPECT_EQ(model.sequences, (std::vector<Ids>{{2, 2, 2}, {3, 3, 3}}));
}

TEST(Perplexity, LmEvalScoresEveryTokenAfterAPrefixToken) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(false, 2), "aabba", Protocol::kLmEval);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(model.sequences, (std::vector<Ids>{{1, 2}, {2, 3}, {3, 3}}));
  // p(a|BOS) p(a|a) p(b|a) p(b|b) p(a|b)
  const double nll = -std::log(0.5 * 0.75 * 0.25 * 0.75 * 0.25);
  EXPECT_NEAR(result->nll, nll, 1e-6);
  EXPECT_EQ(result->tokens, 5u);
  EXPECT_EQ(result->words, 1u);
  EXPECT_EQ(result->bytes, 5u);
  EXPECT_NEAR(result->value, std::exp(nll), 1e-3);
  EXPECT_NEAR(*result->byte_perplexity, std::exp(nll / 5.0), 1e-6);
  EXPECT_NEAR(*result->bits_per_byte, nll / 5.0 / std::log(2.0), 1e-6);
  EXPECT_FALSE(result->standard_error.has_value());
}

TEST(Perplexity, StopsAfterTheWindowsAskedFor) {
  BigramModel model(30);
  const auto result = measure(model.text_model(false, 2), "abcdefgh", Protocol::kGptq, 2, 3);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->window_nll.size(), 3u);
  const auto refused = measure(model.text_model(false, 2), "abcdefgh", Protocol::kLmEval, 2, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "windows: expected all of them for lm-eval, which counts the words of the whole text, "
            "got a limit of 3");
}

TEST(Perplexity, HoldsLogitsOfAFewPositionsAtATime) {
  constexpr std::size_t kVocabulary = 5000;  // 64 MiB hold 3355 rows, more than a call gives
  BigramModel model(kVocabulary);
  ASSERT_TRUE(measure(model.text_model(false, 2048), std::string(2048, 'a'), Protocol::kGptq));
  EXPECT_EQ(model.most_rows, 512u);
}

TEST(Perplexity, SaysHowManyTokensAWindowNeeds) {
  BigramModel model(30);
  const auto result = measure(model.text_model(true, 4096), "abc", Protocol::kGptq);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(result.error().message,
            "text.txt: gptq perplexity: expected at least 2048 tokens (one window), got 4. Use a "
            "longer text or a smaller context (--ctx)");
}

TEST(Perplexity, RefusesTextsThatAreNone) {
  BigramModel model(30);
  const TextModel text_model = model.text_model(true, 4);
  EXPECT_EQ(measure(text_model, "", Protocol::kGptq).error().message,
            "text.txt: expected a text to score, got an empty file");
  EXPECT_EQ(measure(text_model, " \n", Protocol::kGptq).error().message,
            "text.txt: expected a text to score, got 2 bytes of white space");
  EXPECT_EQ(measure(text_model, "ab\xFF", Protocol::kGptq).error().message,
            "text.txt: byte 2: expected UTF-8 text, got byte 255");
}

TEST(Perplexity, RefusesAContextThatScoresNothing) {
  BigramModel model(30);
  EXPECT_EQ(measure(model.text_model(true, 4), "abcd", Protocol::kLlamaCpp, 2).error().message,
            "context: expected at least 3 tokens for llamacpp, got 2");
}

TEST(Perplexity, RefusesIdsThatTheModelHasNoLogitFor) {
  BigramModel model(4);
  EXPECT_EQ(measure(model.text_model(true, 4), "abz", Protocol::kGptq).error().message,
            "tokenizer: expected ids below 4, the rows of the model's classifier, got 27. Do "
            "tokenizer and weights belong to the same model?");
}

TEST(Perplexity, RefusesLogitsThatAreNoNumbers) {
  BigramModel model(4, std::vector<float>(16, std::nanf("")));
  EXPECT_EQ(measure(model.text_model(true, 3), "ab", Protocol::kGptq).error().message,
            "logits of position 0 of a window: expected finite values, got infinity or NaN. Are "
            "the weights damaged?");
}

TEST(Perplexity, NeedsATokenToBeginATextWith) {
  BigramModel model(30);
  TextModel text_model = model.text_model(false, 4);
  text_model.prefix_token.reset();
  EXPECT_EQ(measure(text_model, "ab", Protocol::kLmEval).error().message,
            "lm-eval perplexity: expected a tokenizer with a BOS or EOS token to begin a text "
            "with, got none. Use gptq or llamacpp");
}

TEST(Perplexity, StopsWhenProgressSaysSo) {
  BigramModel model(30);
  ThreadPool pool(1);
  const auto result =
      measure_perplexity(model.text_model(false, 2), pool, "abcdef", "text.txt", {},
                         [](const ProgressUpdate& update) { return update.done < 2; });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, Error::Kind::kInterrupted);
  EXPECT_EQ(model.sequences.size(), 2u);
}

// Under all of them, each in windows of `context`.
Result<std::vector<Perplexity>> measure_all(const TextModel& model, std::string_view text,
                                            std::size_t context) {
  ThreadPool pool(2);
  std::vector<PerplexityOptions> options;
  for (const Protocol protocol : {Protocol::kGptq, Protocol::kLlamaCpp, Protocol::kLmEval}) {
    options.push_back({protocol, DocumentMode::kAuto, context, 0});
  }
  return measure_perplexities(model, pool, text, "text.txt", options);
}

TEST(Perplexities, ShareWindowsOfTheSameTokens) {
  BigramModel model = alternating_model();
  const auto results = measure_all(model.text_model(false, 4), "aabbbaba", 4);
  ASSERT_TRUE(results) << results.error().message;
  // a a b b | b a b a for both kinds of blocks, then BOS a a b (b) | b b a b (a).
  EXPECT_EQ(model.sequences, (std::vector<Ids>{{2, 2, 3}, {3, 2, 3}, {1, 2, 2, 3}, {3, 3, 2, 3}}));
}

TEST(Perplexities, ShareTheFirstBlockWhereBosBeginsEveryBlock) {
  BigramModel model = alternating_model();
  const auto results = measure_all(model.text_model(true, 4), "aabbbab", 4);
  ASSERT_TRUE(results) << results.error().message;
  // BOS a a b | b b a b; llamacpp's second block is BOS b a b.
  ASSERT_GE(model.sequences.size(), 3u);
  EXPECT_EQ(model.sequences[0], (Ids{1, 2, 2}));
  EXPECT_EQ(model.sequences[1], (Ids{3, 3, 2}));
  EXPECT_EQ(model.sequences[2], (Ids{1, 3, 2}));
}

TEST(Perplexities, AreToTheBitThoseOfEachProtocolAlone) {
  for (const bool adds_bos : {false, true}) {
    BigramModel model = alternating_model();
    const std::string text = "aabbbabaabababbbabaaabbab";
    const auto together = measure_all(model.text_model(adds_bos, 6), text, 6);
    ASSERT_TRUE(together) << together.error().message;
    for (const Perplexity& shared : *together) {
      const auto alone = measure(model.text_model(adds_bos, 6), text, shared.protocol, 6);
      ASSERT_TRUE(alone) << alone.error().message;
      EXPECT_EQ(shared.value, alone->value);
      EXPECT_EQ(shared.standard_error, alone->standard_error);
      EXPECT_EQ(shared.cluster_standard_error, alone->cluster_standard_error);
      EXPECT_EQ(shared.window_nll, alone->window_nll);
      EXPECT_EQ(shared.window_tokens, alone->window_tokens);
    }
  }
}

TEST(Perplexity, HasAStandardErrorOverWindows) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(false, 4), "aaaabbabababa", Protocol::kGptq, 4);
  ASSERT_TRUE(result) << result.error().message;
  // a a a a | b b a b | a b a b: 3 log(4/3), log(4/3) + 2 log(4), 3 log(4) of 3 tokens each.
  EXPECT_EQ(result->window_tokens, (std::vector<std::size_t>{3, 3, 3}));
  const double likely = std::log(4.0 / 3.0);
  const double unlikely = std::log(4.0);
  const double means[3] = {likely, (likely + 2.0 * unlikely) / 3.0, unlikely};
  const double mean = (means[0] + means[1] + means[2]) / 3.0;
  double squares = 0.0;
  for (const double window : means) squares += (window - mean) * (window - mean);
  const double error = std::sqrt(squares / 2.0 / 3.0);
  EXPECT_EQ(result->clusters, 3u);
  EXPECT_EQ(result->cluster_unit, ClusterUnit::kWindows);
  EXPECT_NEAR(*result->cluster_standard_error, std::exp(mean) * error, 1e-6);
  EXPECT_NEAR(result->interval->low, std::exp(mean - 4.302653 * error), 1e-5);
  EXPECT_NEAR(result->interval->high, std::exp(mean + 4.302653 * error), 1e-4);
}

TEST(Perplexity, OfOneWindowHasNoIntervalOverWindows) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(false, 4), "aaba", Protocol::kGptq, 4);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->clusters, 1u);
  EXPECT_TRUE(result->standard_error.has_value());
  EXPECT_FALSE(result->cluster_standard_error.has_value());
  EXPECT_FALSE(result->interval.has_value());
}

TEST(Perplexity, PerWordHasAStandardErrorOverWindowsOfOneDocument) {
  BigramModel model = alternating_model();
  const auto result = measure(model.text_model(false, 2), "aabb", Protocol::kLmEval);
  ASSERT_TRUE(result) << result.error().message;
  // BOS a | a b b as windows of two tokens: log 2 + log(4/3) and log 4 + log(4/3); one word.
  EXPECT_EQ(result->window_tokens, (std::vector<std::size_t>{2, 2}));
  const double difference = std::log(2.0);
  // r = S per word; both windows hold half a word: residuals -+ difference / 2.
  const double error = std::sqrt(2.0 * difference * difference / 2.0);
  EXPECT_EQ(result->cluster_unit, ClusterUnit::kWindows);
  EXPECT_NEAR(*result->cluster_standard_error, result->value * error, 1e-5);
}

TEST(Perplexity, SaysWhetherBosBeginsTheText) {
  BigramModel model = alternating_model();
  const auto bos = [&](bool adds_bos, Protocol protocol) {
    const auto result = measure(model.text_model(adds_bos, 4), "aaba", protocol, 4);
    return result && result->bos;
  };
  EXPECT_TRUE(bos(true, Protocol::kGptq));
  EXPECT_TRUE(bos(true, Protocol::kLlamaCpp));
  EXPECT_TRUE(bos(false, Protocol::kLmEval));
  EXPECT_FALSE(bos(false, Protocol::kGptq));
  EXPECT_FALSE(bos(false, Protocol::kLlamaCpp));
}

TEST(Perplexity, NamesTheTextByItsHashAndSaysWhatWasLeftOut) {
  BigramModel model(30);
  const auto all = measure(model.text_model(false, 2), "abcdefgh", Protocol::kGptq, 2);
  const auto some = measure(model.text_model(false, 2), "abcdefgh", Protocol::kGptq, 2, 3);
  ASSERT_TRUE(all && some);
  EXPECT_TRUE(all->all_windows);
  EXPECT_FALSE(some->all_windows);
  EXPECT_EQ(all->text_sha256, "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab");
}

}  // namespace
}  // namespace fptq::eval
