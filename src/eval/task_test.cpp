#include "eval/task.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/tiny_checkpoint.h"

namespace fptq::eval {
namespace {

class TaskRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto model = model::LlamaModel::load(testing::memory_checkpoint(testing::make_tiny_model({})),
                                         {.pool = &pool_});
    ASSERT_TRUE(model) << model.error().message;
    model_.emplace(*std::move(model));
    subject_.model = &*model_;
    subject_.pool = &pool_;
    const EncodeFn bytes = [](std::string_view text) -> Result<std::vector<TokenId>> {
      std::vector<TokenId> ids = {1};
      for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
      return ids;
    };
    subject_.encoder.encode = bytes;
    subject_.encoder.encode_plain = bytes;
    subject_.encoder.context = 128;
    auto task = parse_task(
        "task: t\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: [\"no\", \"yes\"]\n"
        "doc_to_target: label\nmetric_list:\n  - metric: acc\n",
        "t.yaml");
    ASSERT_TRUE(task) << task.error().message;
    task_.emplace(*std::move(task));
    documents_.parts.resize(2);
    for (int i = 0; i < 150; ++i) {
      Json document = {{"q", "question " + std::to_string(i * i)}, {"label", i % 2}};
      documents_.parts[i < 100 ? 0 : 1].documents.push_back(document);
    }
    documents_.parts[0].name = "a";
    documents_.parts[1].name = "b";
  }

  [[nodiscard]] Result<TaskResult> run(const TaskOptions& options = {},
                                       const ProgressFn& progress = {}) const {
    return run_task(*task_, documents_, "d.jsonl", subject_, options, progress);
  }

  ThreadPool pool_{2};
  std::optional<model::LlamaModel> model_;
  TaskModel subject_;
  std::optional<TaskDefinition> task_;
  TaskDocuments documents_;
};

TEST_F(TaskRunTest, ScoresEveryDocumentOfEveryPart) {
  const auto result = run();
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->documents.size(), 150U);
  ASSERT_EQ(result->parts.size(), 2U);
  EXPECT_EQ(result->parts[1].begin, 100U);
  EXPECT_EQ(result->parts[1].end, 150U);
  for (std::size_t i = 0; i < 150; ++i) {
    const DocumentScore& document = result->documents[i];
    EXPECT_EQ(document.document, i);
    EXPECT_EQ(document.contexts.front(), "question " + std::to_string(i * i));
    EXPECT_EQ(document.tokens, (std::vector<std::size_t>{3, 4}));
    EXPECT_LT(document.log_likelihoods[0], 0.0);
  }
  const auto limited = run({.limit = 10});
  ASSERT_TRUE(limited);
  ASSERT_EQ(limited->documents.size(), 20U);
  EXPECT_EQ(limited->documents[10].log_likelihoods, result->documents[100].log_likelihoods);
  // A document has one number, so that a run with another limit can take its scores.
  EXPECT_EQ(limited->documents[10].document, 100U);
  TaskOptions more{.limit = 20};
  for (const DocumentScore& document : limited->documents) {
    more.finished[document.document] = {{document.log_likelihoods[0], document.greedy[0]},
                                        {document.log_likelihoods[1], document.greedy[1]}};
  }
  const auto resumed = run(more);
  const auto fresh = run({.limit = 20});
  ASSERT_TRUE(resumed && fresh);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(resumed->documents[i].log_likelihoods, fresh->documents[i].log_likelihoods);
  }
}

TEST_F(TaskRunTest, DoesNotScoreAgainWhatIsFinished) {
  const auto whole = run();
  ASSERT_TRUE(whole);
  TaskOptions options;
  for (std::size_t i = 0; i < 150; i += 3) {
    const DocumentScore& document = whole->documents[i];
    options.finished[i] = {{document.log_likelihoods[0], document.greedy[0]},
                           {document.log_likelihoods[1], document.greedy[1]}};
  }
  options.finished[1] = {};  // of another shape: of no use
  std::vector<std::size_t> scored;
  options.on_scored = [&](std::size_t document, const DocumentScores& scores) -> Status {
    EXPECT_EQ(scores.size(), 2U);
    scored.push_back(document);
    return {};
  };
  const auto rest = run(options);
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_EQ(scored.size(), 100U);
  EXPECT_TRUE(std::is_sorted(scored.begin(), scored.end()));
  for (std::size_t i = 0; i < 150; ++i) {
    EXPECT_EQ(rest->documents[i].log_likelihoods, whole->documents[i].log_likelihoods);
    EXPECT_EQ(rest->documents[i].acc, whole->documents[i].acc);
  }
}

TEST_F(TaskRunTest, StopsWhenToldTo) {
  const auto stopped = run({}, [](const ProgressUpdate& update) {
    EXPECT_EQ(update.stage, "t");
    EXPECT_EQ(update.total, 150U);
    return false;
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, Error::Kind::kInterrupted);
  TaskOptions full;
  full.on_scored = [](std::size_t, const DocumentScores&) -> Status {
    return Error{Error::Kind::kLimit, "the disk is full"};
  };
  const auto failed = run(full);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "the disk is full");
}

TEST_F(TaskRunTest, CountsContextsThatAreCut) {
  subject_.encoder.context = 13;
  const auto result = run({.limit = 12});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_GT(result->cut, 0U);
  EXPECT_LT(result->cut, 48U);
}

TEST_F(TaskRunTest, NamesTheDocumentThatHasNoTokens) {
  subject_.encoder.context = 2;
  const auto result = run();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message,
            "t: d.jsonl: document 0: expected a continuation of at most 2 tokens, what the model "
            "sees, got 3");
}

}  // namespace
}  // namespace fptq::eval
