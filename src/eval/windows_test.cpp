#include "eval/windows.h"

#include <gtest/gtest.h>

namespace fptq::eval {
namespace {

TEST(Protocol, NamesReadBack) {
  for (const Protocol protocol : {Protocol::kGptq, Protocol::kLlamaCpp, Protocol::kLmEval}) {
    const auto parsed = parse_protocol(protocol_name(protocol));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(*parsed, protocol);
  }
  const auto unknown = parse_protocol("wikitext");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message,
            "protocol: expected gptq, llamacpp or lm-eval, got \"wikitext\"");
}

TEST(Protocol, DefaultsToThePublishedContextWithinTheModels) {
  EXPECT_EQ(default_context(Protocol::kGptq, 131072), 2048u);
  EXPECT_EQ(default_context(Protocol::kGptq, 256), 256u);
  EXPECT_EQ(default_context(Protocol::kLlamaCpp, 8192), 512u);
  EXPECT_EQ(default_context(Protocol::kLmEval, 8192), 8192u);
}

TEST(PlanWindows, GptqScoresAllButTheFirstTokenOfWholeBlocks) {
  EXPECT_EQ(plan_windows(Protocol::kGptq, 11, 4), (std::vector<Window>{{0, 4, 1}, {4, 8, 1}}));
  EXPECT_EQ(plan_windows(Protocol::kGptq, 4, 4), (std::vector<Window>{{0, 4, 1}}));
  EXPECT_TRUE(plan_windows(Protocol::kGptq, 3, 4).empty());
}

TEST(PlanWindows, LlamaCppScoresTheSecondHalfOfWholeBlocks) {
  const auto even = plan_windows(Protocol::kLlamaCpp, 17, 8);
  EXPECT_EQ(even, (std::vector<Window>{{0, 8, 5}, {8, 16, 5}}));
  EXPECT_EQ(even[0].scored(), 8u - 8u / 2u - 1u);
  EXPECT_EQ(plan_windows(Protocol::kLlamaCpp, 7, 7), (std::vector<Window>{{0, 7, 4}}));
  EXPECT_EQ(plan_windows(Protocol::kLlamaCpp, 3, 3), (std::vector<Window>{{0, 3, 2}}));
}

// A stream of BOS and 10 tokens, L = 4: the harness scores 4, 4 and 2 tokens, the last from the
// 4 tokens before the very last one.
TEST(PlanWindows, LmEvalScoresEveryTokenOnceAndOverlapsOnlyAtTheEnd) {
  EXPECT_EQ(plan_windows(Protocol::kLmEval, 11, 4),
            (std::vector<Window>{{0, 5, 1}, {4, 9, 1}, {6, 11, 3}}));
  EXPECT_EQ(plan_windows(Protocol::kLmEval, 9, 4), (std::vector<Window>{{0, 5, 1}, {4, 9, 1}}));
}

TEST(PlanWindows, LmEvalTakesATextShorterThanAWindow) {
  EXPECT_EQ(plan_windows(Protocol::kLmEval, 3, 4), (std::vector<Window>{{0, 3, 1}}));
  EXPECT_EQ(plan_windows(Protocol::kLmEval, 2, 1), (std::vector<Window>{{0, 2, 1}}));
  EXPECT_TRUE(plan_windows(Protocol::kLmEval, 1, 4).empty());
}

TEST(WindowTokens, ReplacesTheFirstTokenForLlamaCppOnly) {
  const std::vector<TokenId> stream = {10, 11, 12, 13, 14};
  const Window window = {1, 4, 2};
  EXPECT_EQ(window_tokens(Protocol::kLlamaCpp, window, stream, 1),
            (std::vector<TokenId>{1, 12, 13}));
  EXPECT_EQ(window_tokens(Protocol::kLlamaCpp, window, stream, std::nullopt),
            (std::vector<TokenId>{11, 12, 13}));
  EXPECT_EQ(window_tokens(Protocol::kGptq, window, stream, 1), (std::vector<TokenId>{11, 12, 13}));
}

}  // namespace
}  // namespace fptq::eval
