#include "engine/session.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "engine/tiny_model_test.h"

namespace fptq::engine {
namespace {

using SessionTest = TinyModelTest;

TEST_F(SessionTest, StopsAtTheLengthThatWasAskedFor) {
  const Generation result = generate({.prompt = {1, 70, 80}, .max_tokens = 5});
  EXPECT_EQ(5u, result.ids.size());
  EXPECT_EQ(FinishReason::kLength, result.finish);
  EXPECT_EQ(3u, result.timings.prompt_tokens);
  EXPECT_EQ(0u, result.timings.reused_tokens);
  EXPECT_EQ(5u, result.timings.generated_tokens);
}

TEST_F(SessionTest, ContinuesAPromptAsTheModelItselfDoes) {
  const Ids prompt = {1, 70, 80, 90};
  const Ids ids = generate({.prompt = prompt, .max_tokens = 6}).ids;
  Ids whole = prompt;
  for (const std::int32_t id : ids) {
    auto cache = model_->new_cache(whole.size());
    ASSERT_TRUE(cache);
    std::vector<float> logits(model_->config().vocab_size);
    const model::SequenceInput input{.ids = whole, .cache = &*cache};
    ASSERT_TRUE(model_->forward(std::span(&input, 1), logits));
    EXPECT_EQ(*greedy_token(logits), id);
    whole.push_back(id);
  }
}

TEST_F(SessionTest, ReusesTheBeginningThatPromptsShareWithoutAnotherResult) {
  Session shared = session(64);
  const Ids first = {1, 70, 80, 90, 100};
  const Ids second = {1, 70, 80, 91, 101};
  ASSERT_TRUE(shared.generate({.prompt = first, .max_tokens = 4}));
  const auto result = shared.generate({.prompt = second, .max_tokens = 8});
  ASSERT_TRUE(result);
  EXPECT_EQ(3u, result->timings.reused_tokens);
  EXPECT_EQ(generate({.prompt = second, .max_tokens = 8}).ids, result->ids);
}

TEST_F(SessionTest, ComputesAtLeastTheLastTokenOfARepeatedPrompt) {
  Session repeated = session(64);
  const GenerationRequest request{.prompt = {1, 70, 80}, .max_tokens = 3};
  const auto first = repeated.generate(request);
  const auto second = repeated.generate(request);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(2u, second->timings.reused_tokens);
  EXPECT_EQ(first->ids, second->ids);
}

TEST_F(SessionTest, DoesNotReuseKeysThatDependOnTheInputsLength) {
  load({.max_positions = 8,
        .rope = R"({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})"});
  Session repeated = session(64);
  const GenerationRequest request{.prompt = Ids(20, 70), .max_tokens = 3};
  ASSERT_TRUE(repeated.generate(request));
  EXPECT_EQ(0u, repeated.generate(request)->timings.reused_tokens);
}

TEST_F(SessionTest, StopsAtAStopIdAndKeepsItOutOfTheText) {
  const Generation free_run = generate({.prompt = {1, 70, 80}, .max_tokens = 6});
  const std::int32_t stop = free_run.ids[3];
  const Generation result = generate({.prompt = {1, 70, 80}, .max_tokens = 6, .stop_ids = {stop}});
  EXPECT_EQ(FinishReason::kStopId, result.finish);
  EXPECT_EQ(stop, result.ids.back());
  EXPECT_EQ(result.text, free_run.text.substr(0, result.text.size()));
}

TEST_F(SessionTest, NeverShowsAnyPartOfAStopString) {
  const Generation free_run = generate({.prompt = {1, 70, 80}, .max_tokens = 20});
  ASSERT_GE(free_run.text.size(), 8u);
  const std::string stop = free_run.text.substr(4, 4);
  std::string streamed;
  const auto result =
      session(64).generate({.prompt = {1, 70, 80}, .max_tokens = 20, .stop_strings = {stop}},
                           [&](std::string_view text) {
                             streamed += text;
                             return true;
                           });
  ASSERT_TRUE(result);
  EXPECT_EQ(FinishReason::kStopString, result->finish);
  EXPECT_EQ(free_run.text.substr(0, free_run.text.find(stop)), result->text);
  EXPECT_EQ(streamed, result->text);
}

TEST_F(SessionTest, EndsWhereTheCacheIsFull) {
  const Generation result = generate({.prompt = {1, 70, 80}, .max_tokens = 50}, 8);
  EXPECT_EQ(FinishReason::kContext, result.finish);
  EXPECT_EQ(6u, result.ids.size());  // 5 that were cached, and one after them
}

TEST_F(SessionTest, EndsWhenTheReceiverOfTheTextSaysSo) {
  const auto result = session(64).generate({.prompt = {1, 70, 80}, .max_tokens = 50},
                                           [](std::string_view) { return false; });
  ASSERT_TRUE(result);
  EXPECT_EQ(FinishReason::kCancelled, result->finish);
  EXPECT_LT(result->ids.size(), 50u);
}

TEST_F(SessionTest, CanBeInterruptedBetweenThePassesOfAPrompt) {
  Ids prompt(1200, 70);
  for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] += static_cast<std::int32_t>(i % 9);
  Session interrupted = session(1300);
  const GenerationRequest request{.prompt = prompt, .max_tokens = 4};
  std::vector<std::uint64_t> done;
  std::string text;
  const auto stopped = interrupted.generate(
      request,
      [&](std::string_view piece) {
        text += piece;
        return true;
      },
      [&](const ProgressUpdate& update) {
        EXPECT_EQ("reading the prompt", update.stage);
        EXPECT_EQ(1200u, update.total);
        done.push_back(update.done);
        return done.size() < 2;
      });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(Error::Kind::kInterrupted, stopped.error().kind);
  EXPECT_EQ("prompt: interrupted after 1024 of 1200 tokens", stopped.error().message);
  EXPECT_EQ((std::vector<std::uint64_t>{512, 1024}), done);
  EXPECT_EQ("", text);

  // What was computed is good for another attempt.
  const auto finished = interrupted.generate(request);
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_EQ(1024u, finished->timings.reused_tokens);
  EXPECT_EQ(generate(request, 1300).ids, finished->ids);
}

TEST_F(SessionTest, GivesEveryPassTheLengthOfTheWholePromptWhereKeysDependOnIt) {
  load({.max_positions = 8,
        .rope = R"({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})"});
  constexpr std::size_t kGenerated = 12;
  Rng rng(3);
  Ids prompt(700);
  for (std::int32_t& id : prompt) id = static_cast<std::int32_t>(rng.below(320));
  // The same in one piece, and then token by token.
  auto cache = model_->new_cache(prompt.size() + kGenerated);
  ASSERT_TRUE(cache);
  std::vector<float> logits(model_->config().vocab_size);
  Ids expected;
  Ids next = prompt;
  while (expected.size() < kGenerated) {
    const model::SequenceInput input{.ids = next, .cache = &*cache};
    ASSERT_TRUE(model_->forward(std::span(&input, 1), logits));
    next = {*greedy_token(logits)};
    expected.push_back(next[0]);
  }
  EXPECT_EQ(expected, generate({.prompt = prompt, .max_tokens = kGenerated}, 800).ids);
}

TEST_F(SessionTest, GeneratesNothingWhereNothingIsAskedFor) {
  const Generation result = generate({.prompt = {1}, .max_tokens = 0});
  EXPECT_TRUE(result.ids.empty());
  EXPECT_EQ(FinishReason::kLength, result.finish);
}

TEST_F(SessionTest, RefusesAPromptLongerThanTheCache) {
  const auto result = session(2).generate({.prompt = {1, 70, 80}});
  ASSERT_FALSE(result);
  EXPECT_EQ(Error::Kind::kLimit, result.error().kind);
  EXPECT_EQ("prompt: expected at most 2 tokens (--ctx), got 3. Raise --ctx or shorten the prompt",
            result.error().message);
}

TEST_F(SessionTest, ComputesAPromptLongerThanAPassAsOne) {
  const Ids prompt(model::kPassTokens + 100, 70);
  auto cache = model_->new_cache(prompt.size());
  ASSERT_TRUE(cache);
  std::vector<float> logits(model_->config().vocab_size);
  const model::SequenceInput input{.ids = prompt, .cache = &*cache};
  ASSERT_TRUE(model_->forward(std::span(&input, 1), logits));
  EXPECT_EQ((Ids{*greedy_token(logits)}),
            generate({.prompt = prompt, .max_tokens = 1}, prompt.size()).ids);
}

TEST_F(SessionTest, ScalesDynamicRopeByTheWholePromptWhateverItsParts) {
  load({.max_positions = 8,
        .rope = R"({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})"});
  Ids prompt;
  for (std::size_t t = 0; t < model::kPassTokens + 100; ++t) {
    prompt.push_back(static_cast<std::int32_t>(t * 7 % 300));
  }
  auto cache = model_->new_cache(prompt.size());
  ASSERT_TRUE(cache);
  std::vector<float> logits(model_->config().vocab_size);
  const model::SequenceInput input{.ids = prompt, .cache = &*cache};
  ASSERT_TRUE(model_->forward(std::span(&input, 1), logits));
  const GenerationRequest request{
      .prompt = prompt, .max_tokens = 1, .sampling = {.temperature = 5.0, .seed = 4}};
  Sampler sampler(request.sampling);
  EXPECT_EQ((Ids{*sampler.sample(logits, prompt)}), generate(request, prompt.size()).ids);
}

TEST_F(SessionTest, RefusesIdsOutsideTheVocabulary) {
  const auto result = session(4).generate({.prompt = {1, 320}});
  ASSERT_FALSE(result);
  EXPECT_EQ("prompt: token 1: expected an id from 0 to 319, got 320", result.error().message);
  EXPECT_FALSE(session(4).generate({.prompt = {-1}}));
}

TEST_F(SessionTest, RefusesAnEmptyPrompt) {
  const auto result = session(2).generate({});
  ASSERT_FALSE(result);
  EXPECT_EQ("prompt: expected at least 1 token, got none", result.error().message);
}

}  // namespace
}  // namespace fptq::engine
