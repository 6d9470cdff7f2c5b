#include "eval/task_requests.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace fptq::eval {
namespace {

using Texts = std::vector<std::string>;

const std::string kYesOrNo =
    "task: t\noutput_type: multiple_choice\ndoc_to_text: \"Q: {{q}}\\nA:\"\n"
    "doc_to_choice: [\"no\", \"yes\"]\ndoc_to_target: label\nmetric_list:\n  - metric: acc\n";

TaskDefinition task_of(const std::string& yaml) {
  auto task = parse_task(yaml, "t.yaml");
  EXPECT_TRUE(task) << task.error().message;
  return *std::move(task);
}

std::vector<Json> documents_of(const std::string& lines) {
  auto documents = parse_documents(lines, "d.jsonl", {});
  EXPECT_TRUE(documents) << documents.error().message;
  return *std::move(documents);
}

std::vector<DocumentRequests> requests_of(const TaskDefinition& task, const std::string& lines,
                                          std::size_t shots = 0, const std::string& examples = "") {
  const TaskPart part{"", documents_of(lines),
                      examples.empty() ? std::vector<Json>() : documents_of(examples)};
  auto requests = build_requests(task, part, shots, 0, "t");
  EXPECT_TRUE(requests) << requests.error().message;
  return requests ? *std::move(requests) : std::vector<DocumentRequests>();
}

std::string message_of(const TaskDefinition& task, const std::string& lines,
                       std::size_t shots = 0) {
  const auto requests = build_requests(task, {"", documents_of(lines), {}}, shots, 0, "t");
  return requests ? "accepted" : requests.error().message;
}

// Of a built-in task.
DocumentRequests built_in(const std::string& name, const std::string& document) {
  auto task = builtin_task(name);
  EXPECT_TRUE(task) << task.error().message;
  const auto requests = requests_of(*task, document);
  EXPECT_EQ(requests.size(), 1U);
  return requests.empty() ? DocumentRequests() : requests.front();
}

TEST(TaskRequests, PutsTheDelimiterInFrontOfChoices) {
  const auto requests = requests_of(task_of(kYesOrNo), R"({"q": "x", "label": 1})");
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].contexts, Texts{"Q: x\nA:"});
  EXPECT_EQ(requests[0].continuations, (Texts{" no", " yes"}));
  EXPECT_EQ(requests[0].choice_lengths, (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(std::get<std::size_t>(requests[0].target), 1U);
}

TEST(TaskRequests, TakesIndicesAsNumbersDigitsTruthAndTexts) {
  const TaskDefinition task = task_of(kYesOrNo);
  for (const char* label : {"1", "\"1\"", "true", "\"yes\""}) {
    const auto requests = requests_of(task, std::string(R"({"q": "x", "label": )") + label + "}");
    ASSERT_EQ(requests.size(), 1U);
    EXPECT_EQ(std::get<std::size_t>(requests[0].target), 1U) << label;
  }
}

TEST(TaskRequests, CountsCodePoints) {
  const auto requests = requests_of(
      task_of("task: t\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n"
              "doc_to_target: 0\nmetric_list:\n  - metric: acc_norm\n"),
      R"({"q": "x", "c": ["äé😀", "a"]})");
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].choice_lengths, (std::vector<std::size_t>{3, 1}));
}

TEST(TaskRequests, PutsTheFirstExamplesInFrontWhereToldTo) {
  const TaskDefinition task = task_of(
      kYesOrNo + "description: \"About {{topic}}.\\n\\n\"\nfewshot_config:\n  sampler: first_n\n");
  const std::string lines =
      "{\"q\": \"a\", \"label\": 0, \"topic\": \"s\"}\n{\"q\": \"b\", \"label\": 1, \"topic\": "
      "\"t\"}\n{\"q\": \"c\", \"label\": 0, \"topic\": \"u\"}";
  const auto own = requests_of(task, lines, 2);
  ASSERT_EQ(own.size(), 3U);
  EXPECT_EQ(own[0].contexts, Texts{"About s.\n\nQ: b\nA: yes\n\nQ: c\nA: no\n\nQ: a\nA:"});
  EXPECT_EQ(own[2].contexts, Texts{"About u.\n\nQ: a\nA: no\n\nQ: b\nA: yes\n\nQ: c\nA:"});
  const auto others = requests_of(task, lines, 1, "{\"q\": \"e\", \"label\": 1}");
  EXPECT_EQ(others[1].contexts, Texts{"About t.\n\nQ: e\nA: yes\n\nQ: b\nA:"});
}

// What lm-evaluation-harness draws with its seed from ten examples: random.Random(1234) gives
// sample(range(10), 2) = [7, 1], then [0, 1].
TEST(TaskRequests, DrawsTheHarnesssExamples) {
  std::string examples;
  for (int i = 0; i < 10; ++i) {
    examples += "{\"q\": \"" + std::to_string(i) + "\", \"label\": 0}\n";
  }
  const auto requests = requests_of(
      task_of(kYesOrNo), "{\"q\": \"a\", \"label\": 0}\n{\"q\": \"b\", \"label\": 1}", 2, examples);
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].contexts, Texts{"Q: 7\nA: no\n\nQ: 1\nA: no\n\nQ: a\nA:"});
  EXPECT_EQ(requests[1].contexts, Texts{"Q: 0\nA: no\n\nQ: 1\nA: no\n\nQ: b\nA:"});
}

TEST(TaskRequests, SaysWhichDocumentIsWrong) {
  const TaskDefinition task = task_of(kYesOrNo);
  EXPECT_EQ(message_of(task, "{\"q\": \"a\", \"label\": 0}\n{\"q\": \"b\", \"label\": 2}"),
            "t: document 1: doc_to_target: expected an index below 2, got 2");
  EXPECT_EQ(message_of(task, "{\"q\": \"a\", \"label\": \"maybe\"}"),
            "t: document 0: doc_to_target: expected one of the choices or its index, got "
            "\"maybe\"");
  EXPECT_EQ(message_of(task, "{\"q\": \"a\", \"label\": -1}"),
            "t: document 0: doc_to_target: expected a text or the index of a choice, got -1");
  EXPECT_EQ(message_of(task, "{\"q\": \"a\", \"label\": 0}", 1),
            "t: expected at least 2 examples for 1 shots, got 1");
  const TaskDefinition choices = task_of(
      "task: t\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n"
      "doc_to_target: 0\nmetric_list:\n  - metric: acc\n");
  EXPECT_EQ(message_of(choices, R"({"q": "a", "c": ["x", 1]})"),
            "t: document 0: doc_to_choice: expected a list of two or more texts, got [\"x\",1]");
}

TEST(TaskRequests, MakesContextsOfWinograndesChoices) {
  const DocumentRequests requests = built_in(
      "winogrande",
      R"({"sentence": "Ann met Eve and _ sang. ", "option1": "Ann", "option2": "Eve", "answer": "2"})");
  EXPECT_EQ(requests.contexts, (Texts{"Ann met Eve and Ann", "Ann met Eve and Eve"}));
  EXPECT_EQ(requests.continuations, Texts{" sang."});
  EXPECT_EQ(std::get<std::size_t>(requests.target), 1U);
  EXPECT_EQ(requests.size(), 2U);
}

TEST(TaskRequests, ReadsBothFormsOfArc) {
  for (
      const char* document :
      {R"({"question": {"stem": "Why?", "choices": [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}]}, "answerKey": "2"})",
       R"({"question": "Why?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"})"}) {
    const DocumentRequests requests = built_in("arc_easy", document);
    EXPECT_EQ(requests.contexts, Texts{"Question: Why?\nAnswer:"});
    EXPECT_EQ(requests.continuations, (Texts{" x", " y"}));
    EXPECT_EQ(std::get<std::size_t>(requests.target), 1U);
  }
}

TEST(TaskRequests, CleansHellaSwagAsTheHarnessDoes) {
  const DocumentRequests requests = built_in(
      "hellaswag",
      R"({"activity_label": "Baking", "ctx_a": "[header] How to bake [title] Mix.", "ctx_b": "then YOU  stir", "endings": [" [step] Eat  it. ", "[substeps] one [title] two"], "label": "1"})");
  EXPECT_EQ(requests.contexts, Texts{"Baking: How to bake. Mix. Then you stir"});
  EXPECT_EQ(requests.continuations, (Texts{"  Eat it.", "  one. two"}));
  EXPECT_EQ(requests.choice_lengths, (std::vector<std::size_t>{8, 9}));
  EXPECT_EQ(std::get<std::size_t>(requests.target), 1U);
}

TEST(TaskRequests, AsksOneContinuationOfLambada) {
  const DocumentRequests requests =
      built_in("lambada_openai", R"({"text": "She said\nit was the end"})");
  EXPECT_EQ(requests.contexts, Texts{"She said\nit was the"});
  EXPECT_EQ(requests.continuations, Texts{" end"});
  EXPECT_EQ(std::get<std::string>(requests.target), " end");
}

TEST(TaskRequests, AsksMmluWithItsSubject) {
  for (const char* answer : {"2", "\"2\"", "\"C\""}) {
    const DocumentRequests requests = built_in(
        "mmlu",
        std::string(R"({"question": " Q ", "choice0": "w", "choice1": "x", "choice2": "y", )"
                    R"("choice3": "z", "part": "high_school_physics", "answer": )") +
            answer + "}");
    EXPECT_EQ(requests.contexts,
              Texts{"The following are multiple choice questions (with answers) about high school "
                    "physics.\n\nQ\nA. w\nB. x\nC. y\nD. z\nAnswer:"});
    EXPECT_EQ(requests.continuations, (Texts{" A", " B", " C", " D"}));
    EXPECT_EQ(std::get<std::size_t>(requests.target), 2U);
  }
}

}  // namespace
}  // namespace fptq::eval
