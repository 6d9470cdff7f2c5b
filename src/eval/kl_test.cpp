#include "eval/kl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "eval/fake_model.h"
#include "eval/perplexity.h"

namespace fptq::eval {
namespace {

using testing::BigramModel;

// Four tokens; after any of them 'a' (2) has `p`, 'b' (3) the rest, the others nothing.
BigramModel coin(double p) {
  std::vector<float> table;
  for (int row = 0; row < 4; ++row) {
    table.insert(table.end(), {-1e9f, -1e9f, static_cast<float>(std::log(p)),
                               static_cast<float>(std::log(1.0 - p))});
  }
  return BigramModel(4, table);
}

Result<KlDivergence> measure(const TextModel& base, const TextModel& candidate,
                             std::string_view text, std::size_t context = 4) {
  ThreadPool pool(2);
  KlOptions options;
  options.context = context;
  return measure_kl(base, candidate, pool, text, "text.txt", options);
}

TEST(Kl, OfTwoCoinsMatchesTheFormula) {
  BigramModel base = coin(0.75);
  BigramModel candidate = coin(0.25);
  const auto result =
      measure(base.text_model(true, 8), candidate.text_model(true, 8), "aaabaaaaaab");
  ASSERT_TRUE(result) << result.error().message;
  const double kl = 0.75 * std::log(3.0) - 0.25 * std::log(3.0);
  EXPECT_EQ(result->tokens, 3u);
  EXPECT_EQ(result->context, 4u);
  EXPECT_NEAR(result->mean, kl, 1e-6);
  EXPECT_NEAR(result->median, kl, 1e-6);
  EXPECT_NEAR(result->p99, kl, 1e-6);
  EXPECT_NEAR(result->max, kl, 1e-6);
  EXPECT_NEAR(*result->standard_errors.mean, 0.0, 1e-12);
  EXPECT_EQ(result->window_tokens, (std::vector<std::size_t>{1, 1, 1}));
  EXPECT_EQ(result->flips, 3u);
  EXPECT_EQ(result->top1_agreement, 0.0);
  EXPECT_NEAR(result->rms_delta_p, 0.5, 1e-6);
  EXPECT_EQ(base.sequences, candidate.sequences);
}

TEST(Kl, OfAModelWithItselfIsExactlyZero) {
  BigramModel base = coin(0.6);
  BigramModel same = coin(0.6);
  const auto result = measure(base.text_model(true, 8), same.text_model(true, 8), "abab");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->mean, 0.0);
  EXPECT_EQ(result->max, 0.0);
  EXPECT_EQ(result->top1_agreement, 1.0);
  EXPECT_EQ(result->rms_delta_p, 0.0);
}

TEST(Kl, ScoresEachWindowAsAPerplexityDoes) {
  BigramModel base = coin(0.7);
  BigramModel candidate = coin(0.35);
  ThreadPool pool(2);
  std::map<std::size_t, WindowScore> scores[2];
  KlOptions options;
  options.context = 7;
  options.on_scored = [&](std::size_t window, const WindowScore& of_base,
                          const WindowScore& of_candidate) {
    scores[0][window] = of_base;
    scores[1][window] = of_candidate;
    return Status();
  };
  const TextModel models[] = {base.text_model(true, 8), candidate.text_model(true, 8)};
  const std::string text = "abbabaabbbababbaababb";
  ASSERT_TRUE(measure_kl(models[0], models[1], pool, text, "text.txt", options));
  for (std::size_t m = 0; m < 2; ++m) {
    PerplexityOptions alone;
    alone.protocol = Protocol::kLlamaCpp;
    alone.context = 7;
    std::size_t windows = 0;
    alone.on_scored = [&](std::size_t window, const WindowScore& expected) {
      ++windows;
      EXPECT_EQ(scores[m].at(window).nll, expected.nll);
      EXPECT_EQ(scores[m].at(window).moments.count(), expected.moments.count());
      EXPECT_EQ(scores[m].at(window).moments.mean(), expected.moments.mean());
      EXPECT_EQ(scores[m].at(window).moments.standard_error(), expected.moments.standard_error());
      return Status();
    };
    ASSERT_TRUE(measure_perplexity(models[m], pool, text, "text.txt", alone));
    EXPECT_EQ(windows, 3u);
    EXPECT_EQ(scores[m].size(), 3u);
  }
  EXPECT_NE(scores[0].at(0).nll, scores[1].at(0).nll);
}

TEST(Kl, DoesNotScoreWindowsThatItKnows) {
  BigramModel base = coin(0.7);
  BigramModel candidate = coin(0.35);
  ThreadPool pool(1);
  KlOptions options;
  options.context = 4;
  options.finished[0] = {TokenDivergence{0.5, true, 0.0, 0.75}};
  std::vector<std::size_t> scored;
  options.on_scored = [&](std::size_t window, const WindowScore&, const WindowScore&) {
    scored.push_back(window);
    return Status();
  };
  ASSERT_TRUE(measure_kl(base.text_model(false, 8), candidate.text_model(false, 8), pool,
                         "abababab", "text.txt", options));
  EXPECT_EQ(scored, std::vector<std::size_t>{1});
}

TEST(Kl, RefusesModelsThatCannotBeCompared) {
  BigramModel base(30);
  BigramModel smaller(20);
  EXPECT_EQ(measure(base.text_model(true, 8), smaller.text_model(true, 8), "abcd").error().message,
            "KL divergence: expected two models with the same vocabulary, got 30 and 20 tokens. "
            "Is the candidate made from that base?");
  BigramModel other(30);
  EXPECT_EQ(measure(base.text_model(true, 8), other.text_model(false, 8), "abcd").error().message,
            "KL divergence: expected two models that tokenize the text alike, got id 1 and id 2 "
            "at token 0. Is the candidate made from that base?");
}

TEST(Kl, RefusesATextShorterThanAWindow) {
  BigramModel base(30);
  BigramModel other(30);
  EXPECT_EQ(measure(base.text_model(true, 8), other.text_model(true, 8), "abcd", 6).error().message,
            "text.txt: KL divergence: expected at least 6 tokens (one window), got 5. Use a longer "
            "text or a smaller context (--ctx)");
}

TEST(Kl, TakesTheSmallerOfBothContextsByDefault) {
  BigramModel base(30);
  BigramModel other(30);
  const auto result = measure(base.text_model(true, 8), other.text_model(true, 4), "abcd", 0);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->context, 4u);
}

TEST(Kl, HoldsLogitsOfAFewPositionsAtATime) {
  constexpr std::size_t kVocabulary = 5000;  // 64 MiB hold 3355 rows, more than a call gives
  BigramModel base(kVocabulary);
  BigramModel other(kVocabulary);
  const auto result = measure(base.text_model(false, 2048), other.text_model(false, 2048),
                              std::string(2048, 'a'), 2048);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->tokens, 1023u);
  EXPECT_EQ(base.most_rows, 512u);
  EXPECT_EQ(other.most_rows, 512u);
}

}  // namespace
}  // namespace fptq::eval
