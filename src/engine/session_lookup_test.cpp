// Drafts must change nothing but the number of forward passes.

#include <string>
#include <vector>

#include "engine/tiny_model_test.h"

namespace fptq::engine {
namespace {

class SessionLookup : public TinyModelTest {
 protected:
  struct Run {
    Generation generation;
    std::vector<std::string> pieces;
    Ids cached;
  };

  Run run(const GenerationRequest& request, std::size_t capacity) {
    Run run;
    Session own = session(capacity);
    auto result = own.generate(request, [&](std::string_view piece) {
      run.pieces.emplace_back(piece);
      return true;
    });
    EXPECT_TRUE(result) << result.error().message;
    run.generation = *std::move(result);
    run.cached.assign(own.cached().begin(), own.cached().end());
    return run;
  }

  // Runs the request with and without drafts, expects the same, and returns the first.
  Generation run_both(GenerationRequest request, std::size_t capacity = 128) {
    const Run with = run(request, capacity);
    request.lookup = 0;
    const Run without = run(request, capacity);
    EXPECT_EQ(without.generation.ids, with.generation.ids);
    EXPECT_EQ(without.generation.text, with.generation.text);
    EXPECT_EQ(without.generation.finish, with.generation.finish);
    EXPECT_EQ(without.pieces, with.pieces);
    EXPECT_EQ(without.cached, with.cached);
    EXPECT_EQ(0u, without.generation.timings.drafted_tokens);
    return with.generation;
  }

  // The tokens of a draft were accepted, and the last pass had more than were used.
  static void expect_end_inside_a_draft(const Generation& generation) {
    const GenerationTimings& timings = generation.timings;
    EXPECT_GT(timings.accepted_tokens, 0u);
    EXPECT_GT(timings.drafted_tokens, timings.accepted_tokens);
    EXPECT_LT(timings.decode_passes, generation.ids.size() - 1);
  }
};

// "abcdefgh" twice, so that the first token has been followed by all others.
constexpr std::string_view kCycle = "abcdefgh";

GenerationRequest cycle_request(std::size_t max_tokens, std::size_t lookup) {
  GenerationRequest request{.max_tokens = max_tokens, .lookup = lookup};
  for (std::size_t i = 0; i < 2 * kCycle.size() + 1; ++i) {
    request.prompt.push_back(3 + kCycle[i % kCycle.size()]);
  }
  return request;
}

TEST_F(SessionLookup, ChangesNoTokenForAnySeedTemperatureOrPenalty) {
  std::size_t accepted = 0;
  std::size_t rejected = 0;
  for (const double temperature : {0.0, 0.3, 0.8, 1.5}) {
    for (const double penalty : {1.0, 1.15}) {
      for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        GenerationRequest request{
            .max_tokens = 60,
            .sampling = {.temperature = temperature, .repetition_penalty = penalty, .seed = seed},
            .lookup = 1 + 3 * seed};
        if (seed == 2) request.sampling.top_k = 5;
        if (seed == 3) request.sampling.top_p = 0.8;
        if (seed == 4) request.sampling.min_p = 0.1;
        for (std::int32_t i = 0; i < 24; ++i) request.prompt.push_back(70 + i % 6);
        const GenerationTimings timings = run_both(request).timings;
        accepted += timings.accepted_tokens;
        rejected += timings.drafted_tokens - timings.accepted_tokens;
      }
    }
  }
  EXPECT_GT(accepted, 100u);
  EXPECT_GT(rejected, 100u);
}

TEST_F(SessionLookup, ChangesNoTokenWithAnyTypeOfCache) {
  const GenerationRequest with{.prompt = Ids(10, 70), .max_tokens = 40, .lookup = 8};
  GenerationRequest without = with;
  without.lookup = 0;
  for (const model::KvType kv : {model::KvType::kBF16, model::KvType::kInt8}) {
    auto one = Session::create(*model_, *tokenizer_, 64, kv);
    auto other = Session::create(*model_, *tokenizer_, 64, kv);
    ASSERT_TRUE(one && other);
    const auto drafted = one->generate(with);
    ASSERT_TRUE(drafted);
    EXPECT_GT(drafted->timings.accepted_tokens, 0u);
    EXPECT_EQ(other->generate(without)->ids, drafted->ids);
  }
}

TEST_F(SessionLookup, SavesForwardPassesWhereTheTextRepeatsItself) {
  load_cycle(kCycle);
  const Generation generation = run_both(cycle_request(60, 8));
  const GenerationTimings& timings = generation.timings;
  EXPECT_EQ(60u, generation.ids.size());
  EXPECT_EQ(timings.drafted_tokens, timings.accepted_tokens);
  EXPECT_EQ(59u, timings.decode_passes + timings.accepted_tokens);
  EXPECT_GT(timings.tokens_per_pass(), 4.0);
}

TEST_F(SessionLookup, EndsAtAStopIdInsideADraft) {
  load_cycle(kCycle);
  // The cycle is known from the prompt, so that the stop id, when it comes, is in a draft.
  for (const char stop : std::string_view("defgh")) {
    GenerationRequest request = cycle_request(60, 8);
    request.stop_ids = {byte_id(stop)};
    request.sampling.repetition_penalty = 1.05;
    const Generation generation = run_both(request);
    EXPECT_EQ(FinishReason::kStopId, generation.finish);
    EXPECT_EQ(byte_id(stop), generation.ids.back());
    EXPECT_GT(generation.timings.accepted_tokens, 0u) << stop;
  }
}

TEST_F(SessionLookup, EndsAtAStopStringInsideADraft) {
  load_cycle(kCycle);
  GenerationRequest request = cycle_request(60, 8);
  request.stop_strings = {"habcd"};
  const Generation generation = run_both(request);
  EXPECT_EQ(FinishReason::kStopString, generation.finish);
  EXPECT_EQ("bcdefg", generation.text);
  expect_end_inside_a_draft(generation);
}

TEST_F(SessionLookup, EndsWhereTheReceiverOfTheTextSaysSoInsideADraft) {
  load_cycle(kCycle);
  std::string received;
  Session own = session(128);
  const auto result = own.generate(cycle_request(60, 8), [&](std::string_view piece) {
    received += piece;
    return received.size() < 11;
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(FinishReason::kCancelled, result->finish);
  EXPECT_EQ("bcdefghabcd", received);
  EXPECT_EQ(received, result->text);
  expect_end_inside_a_draft(*result);
  EXPECT_EQ(17u + 10u, own.cached().size());
}

TEST_F(SessionLookup, EndsWhereTheCacheIsFull) {
  load_cycle(kCycle);
  const GenerationRequest request = cycle_request(60, 8);
  for (std::size_t capacity = 17; capacity < 40; ++capacity) {
    const Generation generation = run_both(request, capacity);
    EXPECT_EQ(FinishReason::kContext, generation.finish);
    EXPECT_EQ(capacity - 17 + 1, generation.ids.size());
  }
}

TEST_F(SessionLookup, DraftsNoMoreThanIsAskedFor) {
  load_cycle(kCycle);
  for (std::size_t max_tokens = 0; max_tokens < 20; ++max_tokens) {
    const Generation generation = run_both(cycle_request(max_tokens, 50));
    EXPECT_EQ(FinishReason::kLength, generation.finish);
    EXPECT_EQ(max_tokens, generation.ids.size());
    EXPECT_EQ(generation.timings.drafted_tokens, generation.timings.accepted_tokens);
  }
}

TEST_F(SessionLookup, LeavesACacheThatTheNextPromptCanUse) {
  Session own = session(128);
  GenerationRequest request{
      .max_tokens = 30, .sampling = {.temperature = 0.7, .seed = 1}, .lookup = 8};
  for (std::int32_t i = 0; i < 24; ++i) request.prompt.push_back(70 + i % 6);
  const auto first = own.generate(request);
  ASSERT_TRUE(first);
  EXPECT_GT(first->timings.drafted_tokens, first->timings.accepted_tokens);
  request.prompt.insert(request.prompt.end(), first->ids.begin(), first->ids.end());
  request.prompt.push_back(80);
  const auto second = own.generate(request);
  ASSERT_TRUE(second);
  EXPECT_EQ(24u + 29u, second->timings.reused_tokens);
  EXPECT_EQ(generate(request, 128).ids, second->ids);
}

TEST_F(SessionLookup, DraftsNothingWhereLogitsDependOnTheInputsLength) {
  load({.max_positions = 8,
        .rope = R"({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})"});
  const Generation generation = run_both({.prompt = Ids(20, 70), .max_tokens = 30, .lookup = 8});
  EXPECT_EQ(0u, generation.timings.drafted_tokens);
}

}  // namespace
}  // namespace fptq::engine
