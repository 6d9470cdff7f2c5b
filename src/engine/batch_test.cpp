#include "engine/batch.h"

#include <map>
#include <string>

#include "engine/tiny_model_test.h"

namespace fptq::engine {
namespace {

class BatchTest : public TinyModelTest {
 protected:
  Batch batch(std::size_t sequences, std::size_t capacity = 128) {
    auto batch =
        Batch::create(*model_, *tokenizer_, {.sequences = sequences, .capacity = capacity});
    EXPECT_TRUE(batch) << batch.error().message;
    return *std::move(batch);
  }

  static std::uint64_t add(Batch& batch, const GenerationRequest& request, TextFn on_text = {}) {
    const auto id = batch.add(request, std::move(on_text));
    EXPECT_TRUE(id) << id.error().message;
    return id ? *id : 0;
  }

  // Steps until nothing is left.
  static std::map<std::uint64_t, Generation> run(Batch& batch) {
    std::map<std::uint64_t, Generation> results;
    while (batch.active_sequences() > 0) {
      for (Finished& finished : batch.step()) {
        EXPECT_TRUE(finished.generation) << finished.generation.error().message;
        if (finished.generation) results[finished.id] = *std::move(finished.generation);
      }
    }
    return results;
  }

  // Requests of different lengths, ways to choose tokens and reasons to end.
  std::vector<GenerationRequest> different_requests() {
    std::vector<GenerationRequest> requests = {
        {.prompt = {1, 70, 80}, .max_tokens = 30},
        {.prompt = Ids(40, 90), .max_tokens = 5, .sampling = {.temperature = 1.0, .seed = 1}},
        {.prompt = {1},
         .max_tokens = 60,
         .sampling = {.temperature = 0.8, .top_p = 0.9, .seed = 2}},
        {.prompt = Ids(10, 70), .max_tokens = 50, .lookup = 8},
        {.prompt = {1, 70, 81}, .max_tokens = 0},
        {.prompt = Ids(125, 75), .max_tokens = 50},  // the cache ends first
        {.prompt = {5, 6, 7},
         .max_tokens = 40,
         .sampling = {.temperature = 0.9, .repetition_penalty = 1.2, .seed = 3},
         .lookup = 4},
    };
    GenerationRequest stopped = requests[0];
    stopped.stop_ids = {generate(stopped, 128).ids[3]};
    requests.push_back(stopped);
    return requests;
  }
};

TEST_F(BatchTest, GivesEachRequestWhatItWouldGetAlone) {
  const std::vector<GenerationRequest> requests = different_requests();
  for (const std::size_t sequences : {1u, 3u, 8u}) {
    Batch shared = batch(sequences);
    std::map<std::uint64_t, std::size_t> request_of;
    std::map<std::uint64_t, std::string> streamed;
    std::map<std::uint64_t, Generation> results;
    // New ones join as soon as there is room, while others are under way.
    for (std::size_t next = 0; next < requests.size() || shared.active_sequences() > 0;) {
      if (next < requests.size() && shared.free_sequences() > 0) {
        const std::uint64_t id = next + 1;
        request_of[add(shared, requests[next], [&streamed, id](std::string_view piece) {
          streamed[id] += piece;
          return true;
        })] = next;
        ++next;
      }
      for (Finished& finished : shared.step()) {
        ASSERT_TRUE(finished.generation) << finished.generation.error().message;
        results[finished.id] = *std::move(finished.generation);
      }
    }
    ASSERT_EQ(requests.size(), results.size());
    for (const auto& [id, result] : results) {
      const Generation alone = generate(requests[request_of[id]], 128);
      EXPECT_EQ(alone.ids, result.ids) << "request " << id << " of " << sequences << " at a time";
      EXPECT_EQ(alone.text, result.text);
      EXPECT_EQ(alone.finish, result.finish);
      EXPECT_EQ(result.text, streamed[id]);
    }
  }
}

TEST_F(BatchTest, ComputesAllSequencesInOnePass) {
  Batch shared = batch(3);
  for (const std::int32_t id : {70, 80, 90}) add(shared, {.prompt = {1, id}, .max_tokens = 10});
  std::size_t steps = 0;
  std::size_t finished = 0;
  for (; shared.active_sequences() > 0; ++steps) finished += shared.step().size();
  EXPECT_EQ(3u, finished);
  EXPECT_EQ(10u, steps);
  // One call of the embedding per pass.
  EXPECT_EQ(10u, model_->receipt().front().calls);
}

TEST_F(BatchTest, LetsOthersGoOnWhileItComputesALongPrompt) {
  Batch shared = batch(2, 2000);
  std::size_t pieces = 0;
  add(shared, {.prompt = {1, 70}, .max_tokens = 100}, [&](std::string_view) {
    ++pieces;
    return true;
  });
  EXPECT_TRUE(shared.step().empty());
  const std::size_t before = pieces;
  const Ids prompt(3 * model::kPassTokens, 75);
  const std::uint64_t id = add(shared, {.prompt = prompt, .max_tokens = 1});
  std::map<std::uint64_t, Generation> ended;
  std::size_t steps = 0;
  for (; ended.count(id) == 0 && steps < 20; ++steps) {
    for (Finished& finished : shared.step()) ended[finished.id] = *std::move(finished.generation);
  }
  // A pass of 512 has room for 511 tokens of the prompt.
  EXPECT_EQ(4u, steps);
  EXPECT_GT(pieces, before);
  EXPECT_EQ(generate({.prompt = prompt, .max_tokens = 1}, 2000).ids, ended[id].ids);
}

TEST_F(BatchTest, GivesARequestTheCacheThatSharesMostWithItsPrompt) {
  Batch shared = batch(2);
  const Ids first = {1, 70, 80, 90, 100};
  const Ids second = {2, 71, 81, 91, 101};
  add(shared, {.prompt = first, .max_tokens = 2});
  add(shared, {.prompt = second, .max_tokens = 2});
  run(shared);
  const GenerationRequest again{.prompt = {2, 71, 81, 92}, .max_tokens = 8};
  const std::uint64_t id = add(shared, again);
  const Generation result = run(shared)[id];
  EXPECT_EQ(3u, result.timings.reused_tokens);
  EXPECT_EQ(generate(again, 128).ids, result.ids);
}

TEST_F(BatchTest, TakesTheCacheUnusedForLongestWhereNoneIsOfUse) {
  Batch shared = batch(2);
  add(shared, {.prompt = {5, 70, 80}, .max_tokens = 2});
  add(shared, {.prompt = {6, 71, 81}, .max_tokens = 2});
  run(shared);
  add(shared, {.prompt = {7, 72, 82}, .max_tokens = 2});
  run(shared);
  const std::uint64_t id = add(shared, {.prompt = {6, 71, 81}, .max_tokens = 2});
  EXPECT_EQ(2u, run(shared)[id].timings.reused_tokens);
}

TEST_F(BatchTest, ForgetsACancelledRequestAndLeavesTheOthersAlone) {
  Batch shared = batch(2);
  const GenerationRequest kept{.prompt = {1, 70}, .max_tokens = 20};
  const std::uint64_t cancelled = add(shared, {.prompt = {1, 80}, .max_tokens = 20});
  const std::uint64_t id = add(shared, kept);
  EXPECT_TRUE(shared.step().empty());
  shared.cancel(cancelled);
  shared.cancel(cancelled);
  EXPECT_EQ(1u, shared.free_sequences());
  const auto results = run(shared);
  ASSERT_EQ(1u, results.size());
  EXPECT_EQ(generate(kept, 128).ids, results.at(id).ids);
}

TEST_F(BatchTest, EndsOnlyTheRequestWhoseLogitsAreNotNumbers) {
  // The sum of the two overflows, which makes the norm of the token's row infinity / infinity.
  testing::TinyModel tiny = testing::make_tiny_model({.tied = false, .attention_bias = true});
  Tensor& embedding = *tiny.find("model.embed_tokens.weight");
  embedding = testing::with_element(embedding, 200 * embedding.cols(), 3e38f);
  Tensor& bias = *tiny.find("model.layers.0.self_attn.o_proj.bias");
  bias = testing::with_element(bias, 0, 3e38f);
  load_model(std::move(tiny));
  Batch shared = batch(2);
  const GenerationRequest sound{.prompt = {1, 70}, .max_tokens = 4};
  const std::uint64_t damaged = add(shared, {.prompt = {1, 200}, .max_tokens = 4});
  const std::uint64_t id = add(shared, sound);
  std::vector<Finished> finished = shared.step();
  ASSERT_EQ(1u, finished.size());
  EXPECT_EQ(damaged, finished[0].id);
  ASSERT_FALSE(finished[0].generation);
  EXPECT_EQ(Error::Kind::kFormat, finished[0].generation.error().kind);
  EXPECT_EQ(generate(sound, 128).ids, run(shared)[id].ids);
}

TEST_F(BatchTest, RefusesMoreRequestsThanItHasSequences) {
  Batch shared = batch(1);
  add(shared, {.prompt = {1}});
  const auto refused = shared.add({.prompt = {1}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(Error::Kind::kLimit, refused.error().kind);
  EXPECT_EQ("batch: expected a free sequence, got 1 busy ones", refused.error().message);
}

TEST_F(BatchTest, RefusesWhatASessionRefuses) {
  Batch shared = batch(1, 4);
  EXPECT_FALSE(shared.add({.prompt = {}}));
  EXPECT_FALSE(shared.add({.prompt = {1, 2, 3, 4, 5}}));
  EXPECT_FALSE(shared.add({.prompt = {320}}));
  EXPECT_FALSE(shared.add({.prompt = {1}, .sampling = {.top_p = 0.0}}));
  EXPECT_EQ(1u, shared.free_sequences());
  EXPECT_FALSE(Batch::create(*model_, *tokenizer_, {.sequences = 0, .capacity = 4}));
  EXPECT_FALSE(Batch::create(*model_, *tokenizer_, {.sequences = 1}));
}

}  // namespace
}  // namespace fptq::engine
