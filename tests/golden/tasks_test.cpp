// Tasks against lm-evaluation-harness (golden/lm_eval in the test data).

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "eval/task.h"
#include "eval/task_requests.h"
#include "golden/model_fixture.h"
#include "support/test_data.h"
#include "text/tokenizer.h"

namespace fptq::eval {
namespace {

struct TaskFile {
  const char* task;
  const char* data;  // below the test data's directory `data`
};

std::ostream& operator<<(std::ostream& out, const TaskFile& file) {
  return out << file.task;
}

// A file with a JSON object a line.
std::vector<Json> lines_of(const std::filesystem::path& path) {
  const auto text = read_text_file(path);
  EXPECT_TRUE(text) << text.error().message;
  auto documents = parse_documents(*text, path.string(), {});
  EXPECT_TRUE(documents) << documents.error().message;
  return *std::move(documents);
}

class TaskGolden : public ::testing::TestWithParam<TaskFile> {};

TEST_P(TaskGolden, AsksWhatTheHarnessAsks) {
  const std::filesystem::path root = testing::test_data_dir();
  const std::string golden = std::string("golden/lm_eval/") + GetParam().task + ".requests.jsonl";
  FPTQ_REQUIRE_TEST_DATA(golden);
  FPTQ_REQUIRE_TEST_DATA(std::string("data/") + GetParam().data);
  const auto task = builtin_task(GetParam().task);
  ASSERT_TRUE(task) << task.error().message;
  const auto documents = read_documents(*task, root / "data" / GetParam().data);
  ASSERT_TRUE(documents) << documents.error().message;
  const std::vector<Json> expected = lines_of(root / golden);
  const auto requests =
      build_requests(*task, documents->parts.front(), 0, expected.size(), task->name);
  ASSERT_TRUE(requests) << requests.error().message;
  ASSERT_EQ(requests->size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(Json((*requests)[i].contexts), Json::array({expected[i]["context"]}));
    EXPECT_EQ(Json((*requests)[i].continuations), expected[i]["continuations"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Published, TaskGolden,
                         ::testing::Values(TaskFile{"arc_easy", "arc/ARC-Easy-Test.jsonl"},
                                           TaskFile{"hellaswag",
                                                    "hellaswag/hellaswag_val_lmeval.jsonl"},
                                           TaskFile{"lambada_openai", "lambada/lambada_test.jsonl"},
                                           TaskFile{"piqa", "piqa/valid.jsonl"}),
                         [](const auto& of) { return std::string(of.param.task); });

// The harness takes a float32 log-softmax and sums in float32.
constexpr double kTolerance = 2e-3;

struct ScoredCase {
  const char* model;
  TaskFile file;
};

std::ostream& operator<<(std::ostream& out, const ScoredCase& c) {
  return out << c.model << '_' << c.file.task;
}

// The first line of a golden file has the totals, the others a document each.
void expect_scores(const TaskResult& result, const std::vector<Json>& expected) {
  ASSERT_EQ(result.documents.size() + 1, expected.size());
  for (std::size_t i = 0; i < result.documents.size(); ++i) {
    const DocumentScore& document = result.documents[i];
    const Json& golden = expected[i + 1];
    EXPECT_EQ(Json(document.tokens), golden["tokens"]) << i;
    const auto values = golden["ll"].get<std::vector<double>>();
    ASSERT_EQ(document.log_likelihoods.size(), values.size());
    for (std::size_t c = 0; c < values.size(); ++c) {
      EXPECT_NEAR(document.log_likelihoods[c], values[c], kTolerance) << i << ", " << c;
    }
    EXPECT_EQ(document.greedy, golden["greedy"].get<std::vector<bool>>()) << i;
    EXPECT_EQ(document.acc, golden["acc"].get<double>()) << i;
    if (golden.contains("acc_norm")) {
      EXPECT_EQ(document.acc_norm, golden["acc_norm"].get<double>()) << i;
    }
  }
  const Json& totals = expected.front()["results"];
  EXPECT_NEAR(result.acc, totals["acc,none"].get<double>(), 1e-12);
  EXPECT_NEAR(*result.acc_standard_error, totals["acc_stderr,none"].get<double>(), 1e-12);
  if (totals.contains("acc_norm,none")) {
    EXPECT_NEAR(*result.acc_norm, totals["acc_norm,none"].get<double>(), 1e-12);
    EXPECT_NEAR(*result.acc_norm_standard_error, totals["acc_norm_stderr,none"].get<double>(),
                1e-12);
  }
  if (totals.contains("perplexity,none")) {
    const double perplexity = totals["perplexity,none"].get<double>();
    EXPECT_NEAR(*result.perplexity, perplexity, kTolerance * perplexity);
  }
}

class ScoredGolden : public ::testing::TestWithParam<ScoredCase> {};

TEST_P(ScoredGolden, ScoresAsTheHarnessDoes) {
  const auto& [name, file] = GetParam();
  const std::filesystem::path root = testing::test_data_dir();
  const std::string golden =
      "golden/lm_eval/" + std::string(name) + "." + std::string(file.task) + ".jsonl";
  FPTQ_REQUIRE_TEST_DATA(golden);
  FPTQ_REQUIRE_TEST_DATA(std::string("models/") + name);
  const auto task = builtin_task(file.task);
  ASSERT_TRUE(task) << task.error().message;
  const auto documents = read_documents(*task, root / "data" / file.data);
  ASSERT_TRUE(documents) << documents.error().message;
  auto model = testing::load_model(root / "models" / name);
  ASSERT_TRUE(model);
  const auto json = read_text_file(root / "models" / name / "tokenizer.json");
  ASSERT_TRUE(json) << json.error().message;
  const auto tokenizer = text::Tokenizer::from_json(*json, "tokenizer.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;

  TaskModel subject;
  subject.model = &*model;
  subject.pool = &testing::golden_pool();
  subject.encoder.encode = [&](std::string_view text) { return tokenizer->encode(text, true); };
  subject.encoder.encode_plain = [&](std::string_view text) {
    return tokenizer->encode(text, false);
  };
  subject.encoder.context = model->config().max_positions;
  const std::vector<Json> expected = lines_of(root / golden);
  TaskOptions options;
  options.limit = expected.size() - 1;
  const auto result = run_task(*task, *documents, file.data, subject, options);
  ASSERT_TRUE(result) << result.error().message;
  expect_scores(*result, expected);
}

constexpr TaskFile kArcEasy = {"arc_easy", "arc/ARC-Easy-Test.jsonl"};

INSTANTIATE_TEST_SUITE_P(
    Published, ScoredGolden,
    ::testing::Values(ScoredCase{"stories15m", kArcEasy}, ScoredCase{"stories-656k", kArcEasy},
                      ScoredCase{"stories15m",
                                 {"hellaswag", "hellaswag/hellaswag_val_lmeval.jsonl"}},
                      ScoredCase{"stories15m", {"lambada_openai", "lambada/lambada_test.jsonl"}},
                      ScoredCase{"stories15m", {"piqa", "piqa/valid.jsonl"}}),
    [](const auto& of) {
      std::string name = std::string(of.param.model) + "_" + of.param.file.task;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

}  // namespace
}  // namespace fptq::eval
