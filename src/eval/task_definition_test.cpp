#include "eval/task_definition.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq::eval {
namespace {

const std::string kSmall =
    "task: t\n"
    "output_type: multiple_choice\n"
    "doc_to_text: \"Q: {{q}}\"\n"
    "doc_to_choice: [\"no\", \"yes\"]\n"
    "doc_to_target: label\n"
    "metric_list:\n"
    "  - metric: acc\n";

std::string message_of(const std::string& yaml) {
  const auto task = parse_task(yaml, "t.yaml");
  return task ? "accepted" : task.error().message;
}

// kSmall with one line replaced.
std::string with(const std::string& line, const std::string& replacement) {
  std::string text = kSmall;
  const std::size_t at = text.find(line);
  EXPECT_NE(at, std::string::npos) << line;
  return text.replace(at, line.size(), replacement);
}

TEST(TaskDefinition, ReadsWhatTheHarnessWrites) {
  const auto task = parse_task(
      "tag:\n  - ai2\n" + kSmall +
          "  - metric: acc_norm\n    aggregation: mean\n    higher_is_better: true\n"
          "dataset_path: a/b\ndataset_name: null\ntest_split: null\nvalidation_split: validation\n"
          "training_split: train\nnum_fewshot: 5\nfewshot_config:\n  sampler: first_n\n"
          "metadata:\n  version: 1.0\n",
      "t.yaml");
  ASSERT_TRUE(task) << task.error().message;
  EXPECT_EQ(task->name, "t");
  EXPECT_EQ(task->fixed_choices, (std::vector<std::string>{"no", "yes"}));
  EXPECT_EQ(task->split, "validation");
  EXPECT_EQ(task->fewshot_split, "train");
  EXPECT_EQ(task->dataset_name, "");
  EXPECT_EQ(task->num_fewshot, 5U);
  EXPECT_EQ(task->sampler, FewshotSampler::kFirst);
  EXPECT_TRUE(task->acc_norm);
  EXPECT_FALSE(task->perplexity);
  EXPECT_EQ(task->target_delimiter, " ");
}

TEST(TaskDefinition, SaysWhatIsMissing) {
  EXPECT_EQ(message_of(with("task: t\n", "")), "t.yaml: expected the key task, got none");
  EXPECT_EQ(message_of(with("doc_to_text: \"Q: {{q}}\"\n", "")),
            "t.yaml: expected the key doc_to_text, got none");
  EXPECT_EQ(message_of(with("doc_to_target: label\n", "")),
            "t.yaml: expected the key doc_to_target, got none");
  EXPECT_EQ(message_of(with("doc_to_choice: [\"no\", \"yes\"]\n", "")),
            "t.yaml: expected the key doc_to_choice, got none");
  EXPECT_EQ(message_of(with("metric_list:\n  - metric: acc\n", "")),
            "t.yaml: expected the key metric_list, got none");
  EXPECT_EQ(message_of(""), "t.yaml: expected a task, got an empty file");
  EXPECT_EQ(message_of("- a\n"),
            "t.yaml: line 1, column 1: expected a mapping with the key task, got a sequence");
}

TEST(TaskDefinition, RefusesUnknownKeysAndValues) {
  const std::string unknown = message_of(with("task: t\n", "task: t\ndoc_to_txt: x\n"));
  EXPECT_TRUE(unknown.starts_with(
      "t.yaml: line 2, column 13: unknown key \"doc_to_txt\"; the keys are task, dataset_path"))
      << unknown;
  EXPECT_EQ(
      message_of(with("multiple_choice", "generate_until")),
      "t.yaml: line 2, column 14: output_type: expected multiple_choice or loglikelihood, got "
      "\"generate_until\"");
  EXPECT_EQ(message_of(with("metric: acc", "metric: f1")),
            "t.yaml: line 7, column 13: metric: expected acc, acc_norm or perplexity, got \"f1\"");
  EXPECT_EQ(
      message_of(with("[\"no\", \"yes\"]", "[\"no\"]")),
      "t.yaml: line 4, column 16: doc_to_choice: expected at least two texts, got a sequence");
  EXPECT_EQ(message_of(kSmall + "num_fewshot: many\n"),
            "t.yaml: line 8, column 14: num_fewshot: expected a number from 0 to 1000, got "
            "\"many\"");
  EXPECT_EQ(message_of(with("multiple_choice", "loglikelihood")),
            "t.yaml: expected no doc_to_choice with output_type loglikelihood");
}

TEST(TaskDefinition, SaysThatPythonDoesNotRun) {
  const std::string message = message_of(with("label", "!function utils.target"));
  EXPECT_EQ(
      message,
      "t.yaml: line 5, column 16: expected a value, got the tag !function. Python does not run "
      "here: write a template, and fields that it needs under process_docs (--print-task "
      "hellaswag has an example)");
}

TEST(TaskDefinition, NamesTheKeyWhoseTemplateIsWrong) {
  const std::string message = message_of(with("\"Q: {{q}}\"", "\"{{q\""));
  EXPECT_TRUE(message.starts_with(
      "t.yaml: line 3, column 14: doc_to_text: not a usable template: line 1: "))
      << message;
}

TEST(TaskDefinition, RefusesPartsOutsideTheDirectory) {
  const std::string message =
      message_of(kSmall + "parts:\n  documents: \"../*.csv\"\n  examples: \"dev/*.csv\"\n");
  EXPECT_NE(message.find("paths below the directory with one *"), std::string::npos) << message;
}

TEST(TaskDefinition, KnowsNineTasks) {
  EXPECT_EQ(builtin_task_names().size(), 9U);
  for (const std::string& name : builtin_task_names()) {
    const auto task = builtin_task(name);
    ASSERT_TRUE(task) << task.error().message;
    EXPECT_EQ(task->name, name);
    EXPECT_FALSE(task->dataset_path.empty()) << name;
  }
  const auto part = builtin_task("mmlu_anatomy");
  ASSERT_TRUE(part) << part.error().message;
  EXPECT_EQ(part->name, "mmlu_anatomy");
  const auto none = builtin_task("hellaswga");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message,
            "task \"hellaswga\": expected a .yaml file or one of arc_challenge, arc_easy, boolq, "
            "hellaswag, lambada_openai, mmlu, openbookqa, piqa, winogrande");
}

}  // namespace
}  // namespace fptq::eval
