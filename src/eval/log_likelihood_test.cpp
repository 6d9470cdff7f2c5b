#include "eval/log_likelihood.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/rng.h"
#include "eval/logit_row.h"
#include "eval/model_logits.h"
#include "support/tiny_checkpoint.h"

namespace fptq::eval {
namespace {

class LogLikelihood : public ::testing::Test {
 protected:
  static model::LlamaModel tiny(ThreadPool& pool, const testing::TinyOptions& options = {}) {
    auto model = model::LlamaModel::load(
        testing::memory_checkpoint(testing::make_tiny_model(options)), {.pool = &pool});
    EXPECT_TRUE(model) << model.error().message;
    return *std::move(model);
  }

  std::vector<TokenId> random_tokens(std::size_t count) {
    std::vector<TokenId> tokens;
    for (std::size_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<TokenId>(random_.below(320)));
    }
    return tokens;
  }

  // `before` and some random tokens behind it, which are scored.
  ScoredSequence behind(const std::vector<TokenId>& before, std::size_t count) {
    ScoredSequence sequence{before, before.size()};
    const std::vector<TokenId> more = random_tokens(count);
    sequence.tokens.insert(sequence.tokens.end(), more.begin(), more.end());
    return sequence;
  }

  // The definition: one sequence at a time, all logits, no sharing.
  static SequenceScore alone(model::LlamaModel& model, const ScoredSequence& sequence) {
    ModelLogits logits(model);
    const std::size_t seen = sequence.tokens.size() - 1;
    EXPECT_TRUE(logits.begin(seen));
    std::vector<float> rows(seen * logits.vocabulary());
    EXPECT_TRUE(logits.append(std::span(sequence.tokens).first(seen), rows));
    SequenceScore score;
    for (std::size_t i = sequence.first_scored; i <= seen; ++i) {
      const auto row = std::span(rows).subspan((i - 1) * logits.vocabulary(), logits.vocabulary());
      const LogitRow said = look_at_row(row, ops::Exp(Isa::kScalar));
      const auto token = static_cast<std::size_t>(sequence.tokens[i]);
      score.log_likelihood += static_cast<double>(row[token]) - said.norm;
      score.greedy = score.greedy && said.top == sequence.tokens[i];
    }
    return score;
  }

  static void expect_same(model::LlamaModel& model, const std::vector<ScoredSequence>& sequences,
                          const std::vector<SequenceScore>& scores) {
    ASSERT_EQ(scores.size(), sequences.size());
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const SequenceScore expected = alone(model, sequences[i]);
      EXPECT_EQ(scores[i].log_likelihood, expected.log_likelihood) << i;
      EXPECT_EQ(scores[i].greedy, expected.greedy) << i;
    }
  }

  Rng random_{7};
};

TEST_F(LogLikelihood, HasTheBitsOfEachSequenceAlone) {
  ThreadPool pool(2);
  model::LlamaModel model = tiny(pool);
  LogLikelihoodScorer scorer(model, pool);
  const std::vector<TokenId> shots = random_tokens(70);
  for (int round = 0; round < 2; ++round) {
    std::vector<ScoredSequence> sequences;
    for (int document = 0; document < 12; ++document) {
      std::vector<TokenId> context = shots;
      const std::vector<TokenId> question = random_tokens(20);
      context.insert(context.end(), question.begin(), question.end());
      for (const std::size_t length : {1U, 3U, 9U}) sequences.push_back(behind(context, length));
    }
    sequences.push_back(sequences.front());               // twice the same
    sequences.push_back(behind(random_tokens(700), 40));  // more than a pass
    sequences.push_back({random_tokens(2), 1});           // the shortest
    // The second round begins with what the first has computed.
    if (round == 1) sequences.resize(36);
    const auto scores = scorer.score(sequences);
    ASSERT_TRUE(scores) << scores.error().message;
    expect_same(model, sequences, *scores);
    const auto again = scorer.score(std::span(sequences).first(36));
    ASSERT_TRUE(again);
    for (std::size_t i = 0; i < 36; ++i) {
      EXPECT_EQ((*again)[i].log_likelihood, (*scores)[i].log_likelihood);
    }
  }
}

TEST_F(LogLikelihood, KnowsWhatIsGreedy) {
  ThreadPool pool(1);
  model::LlamaModel model = tiny(pool);
  LogLikelihoodScorer scorer(model, pool);
  // What the model says behind a context, token by token.
  std::vector<TokenId> tokens = random_tokens(5);
  ModelLogits logits(model);
  for (int i = 0; i < 3; ++i) {
    std::vector<float> rows(tokens.size() * 320);
    ASSERT_TRUE(logits.begin(tokens.size()));
    ASSERT_TRUE(logits.append(tokens, rows));
    const auto row = std::span(rows).last(320);
    tokens.push_back(static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  ScoredSequence wrong{tokens, 5};
  wrong.tokens[6] = (wrong.tokens[6] + 1) % 320;
  const auto scores = scorer.score(std::vector<ScoredSequence>{{tokens, 5}, wrong});
  ASSERT_TRUE(scores);
  EXPECT_TRUE((*scores)[0].greedy);
  EXPECT_FALSE((*scores)[1].greedy);
}

TEST_F(LogLikelihood, SharesNothingWhereRopeDependsOnTheLength) {
  ThreadPool pool(2);
  model::LlamaModel model =
      tiny(pool, {.rope = R"({"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})"});
  LogLikelihoodScorer scorer(model, pool);
  const std::vector<TokenId> context = random_tokens(90);
  const std::vector<ScoredSequence> sequences = {behind(context, 2), behind(context, 40)};
  const auto scores = scorer.score(sequences);
  ASSERT_TRUE(scores) << scores.error().message;
  expect_same(model, sequences, *scores);
}

TEST_F(LogLikelihood, RefusesIdsOutsideTheVocabulary) {
  ThreadPool pool(1);
  model::LlamaModel model = tiny(pool);
  LogLikelihoodScorer scorer(model, pool);
  const auto scores = scorer.score(std::vector<ScoredSequence>{{{1, 320}, 1}});
  ASSERT_FALSE(scores);
  EXPECT_EQ(scores.error().message,
            "tokenizer: expected ids below 320, the rows of the model's classifier, got 320");
}

TEST_F(LogLikelihood, TellsOfEverySequenceOnce) {
  ThreadPool pool(2);
  model::LlamaModel model = tiny(pool);
  LogLikelihoodScorer scorer(model, pool);
  std::vector<ScoredSequence> sequences;
  for (int i = 0; i < 40; ++i) {
    sequences.push_back(behind(random_tokens(5 + random_.below(30)), 1 + random_.below(60)));
    sequences.push_back(behind(sequences.back().tokens, 2));
    sequences.push_back(sequences.back());
  }
  std::vector<int> times(sequences.size(), 0);
  std::vector<SequenceScore> told(sequences.size());
  const auto scores =
      scorer.score(sequences, [&](std::size_t sequence, const SequenceScore& score) -> Status {
        ++times[sequence];
        told[sequence] = score;
        return {};
      });
  ASSERT_TRUE(scores) << scores.error().message;
  expect_same(model, sequences, *scores);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(times[i], 1) << i;
    EXPECT_EQ(told[i].log_likelihood, (*scores)[i].log_likelihood);
  }
  const auto stopped = scorer.score(sequences, [](std::size_t, const SequenceScore&) -> Status {
    return Error{Error::Kind::kInterrupted, "enough"};
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().message, "enough");
}

TEST_F(LogLikelihood, HoldsFewCachesAtATime) {
  ThreadPool pool(2);
  model::LlamaModel model = tiny(pool);
  const std::uint64_t one = model.new_cache(1000, model::KvType::kF32)->bytes();
  LogLikelihoodScorer scorer(model, pool);
  std::vector<ScoredSequence> sequences;
  sequences.reserve(20);
  for (int i = 0; i < 20; ++i) sequences.push_back(behind(random_tokens(990), 11));
  const auto scores = scorer.score(sequences);
  ASSERT_TRUE(scores) << scores.error().message;
  // Documents are begun to fill passes, not all at once.
  EXPECT_GE(scorer.most_cache_bytes(), one);
  EXPECT_LE(scorer.most_cache_bytes(), 4 * one);
}

}  // namespace
}  // namespace fptq::eval
