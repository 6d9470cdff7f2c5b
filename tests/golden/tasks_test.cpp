// Tasks against lm-evaluation-harness (golden/lm_eval in the test data).

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "eval/task_requests.h"
#include "support/test_data.h"

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

}  // namespace
}  // namespace fptq::eval
