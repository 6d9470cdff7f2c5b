// What an evaluation task asks a model: a YAML file with the keys of lm-evaluation-harness.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/task_template.h"

namespace fptq::eval {

enum class TaskOutput {
  kMultipleChoice,  // the choice with the highest log-likelihood
  kLogLikelihood,   // of one continuation
};

// How examples are drawn: kRandom as the harness does by default (Python's generator, seed 1234,
// other examples for each document), kFirst the first ones in file order.
enum class FewshotSampler { kRandom, kFirst };

// A setting that is a template, or the name of a field, or a constant; which of them depends on
// the documents.
struct TaskText {
  std::string source;
  std::optional<text::TaskTemplate> parsed;  // of `source` as a template
};

// Files of a task that comes in parts (mmlu: its subjects), under the directory that the user
// names.
struct TaskParts {
  std::string documents;  // "test/*_test.csv": `*` is the part's name
  std::string examples;   // "dev/*_dev.csv"
};

// Labels that stand in a file of their own, a line a document.
struct LabelsFile {
  std::string suffix;  // "-labels.lst" beside "valid.jsonl" is "valid-labels.lst"
  std::string field;   // "label"
};

struct TaskDefinition {
  std::string name;
  std::string sha256;  // of the YAML text
  // On the hub, where no file is given.
  std::string dataset_path;
  std::string dataset_name;
  std::string split;          // test_split, else validation_split
  std::string fewshot_split;  // fewshot_split, else training_split, else `split`
  TaskOutput output = TaskOutput::kMultipleChoice;
  // Fields that are added to every document, each from those before it.
  std::vector<std::pair<std::string, TaskText>> process_docs;
  TaskText doc_to_text;
  TaskText doc_to_target;
  std::optional<TaskText> doc_to_choice;
  std::vector<std::string> fixed_choices;  // where doc_to_choice is a list of texts
  std::optional<TaskText> description;
  std::string target_delimiter = " ";
  std::string fewshot_delimiter = "\n\n";
  std::size_t num_fewshot = 0;
  FewshotSampler sampler = FewshotSampler::kRandom;
  bool acc_norm = false;    // is among the metrics
  bool perplexity = false;  // is among the metrics

  // Where the documents come from.
  std::optional<LabelsFile> labels_file;
  std::vector<std::string> csv_columns;  // of files without a header
  std::optional<TaskParts> parts;
};

// The definition in a YAML file's text. `where` begins every message.
//
// Keys of lm-evaluation-harness: task, task_alias, tag, dataset_path, dataset_name,
// training_split, validation_split, test_split, fewshot_split, output_type (multiple_choice,
// loglikelihood), doc_to_text, doc_to_target, doc_to_choice, description, target_delimiter,
// fewshot_delimiter, num_fewshot, fewshot_config.sampler, metric_list (acc, acc_norm, perplexity),
// should_decontaminate, doc_to_decontamination_query, metadata. Of its own: process_docs as a
// mapping of field to template (the harness has a function of Python there), labels_file,
// csv_columns, parts.
//
// Errors: kFormat with line and column for a missing or unknown key, a wrong value or a template
// that is not Jinja; kUnsupported for what needs Python, with what to write instead.
[[nodiscard]] Result<TaskDefinition> parse_task(std::string_view yaml, const std::string& where);

// The tasks that the program knows: "arc_challenge", "arc_easy", "boolq", "hellaswag", ...
[[nodiscard]] std::vector<std::string> builtin_task_names();

// One of them; "mmlu_anatomy" is the part "anatomy" of mmlu, under that name.
// Errors: kNotFound lists the names.
[[nodiscard]] Result<TaskDefinition> builtin_task(std::string_view name);
// The YAML text of one of them, for users to start from. Errors: kNotFound lists the names.
[[nodiscard]] Result<std::string_view> builtin_task_yaml(std::string_view name);

// "mmlu_anatomy" is the part "anatomy" of the built-in task mmlu; nothing for other names.
[[nodiscard]] std::optional<std::string_view> part_in_name(std::string_view name);

}  // namespace fptq::eval
