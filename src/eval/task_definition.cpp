#include "eval/task_definition.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <span>

#include "base/sha256.h"
#include "base/yaml.h"
#include "eval/builtin_tasks.h"

namespace fptq::eval {
namespace {

using Kind = YamlNode::Kind;

// What a key's value is read with.
struct Reader {
  std::string where;
  TaskDefinition task;
  std::string validation_split;
  std::string training_split;
  bool has_metrics = false;

  [[nodiscard]] std::string key_place(std::string_view key) const {
    return where + ": " + std::string(key);
  }
};

Error wrong(const Reader& reader, const YamlNode& node, std::string_view key,
            const std::string& expected) {
  const std::string got = node.kind == Kind::kScalar ? "\"" + node.scalar.substr(0, 80) + "\""
                                                     : "a " + std::string(node.kind_name());
  return node.error(reader.where, std::string(key) + ": expected " + expected + ", got " + got);
}

Result<std::string> text_of(const Reader& reader, const YamlNode& node, std::string_view key) {
  if (node.kind == Kind::kNull) return std::string();  // null is how the harness says "none"
  if (node.kind != Kind::kScalar) return wrong(reader, node, key, "a text");
  return node.scalar;
}

Result<TaskText> template_of(const Reader& reader, const YamlNode& node, std::string_view key) {
  FPTQ_TRY(std::string source, text_of(reader, node, key));
  FPTQ_TRY(
      text::TaskTemplate parsed,
      text::TaskTemplate::from_source(source, node.place(reader.where) + ": " + std::string(key)));
  return TaskText{std::move(source), std::move(parsed)};
}

Status read_text(Reader& reader, const YamlNode& node, std::string_view key, std::string& out) {
  FPTQ_TRY(out, text_of(reader, node, key));
  return {};
}

Status read_output(Reader& reader, const YamlNode& node) {
  FPTQ_TRY(const std::string name, text_of(reader, node, "output_type"));
  if (name == "multiple_choice") {
    reader.task.output = TaskOutput::kMultipleChoice;
  } else if (name == "loglikelihood") {
    reader.task.output = TaskOutput::kLogLikelihood;
  } else if (name == "loglikelihood_rolling") {
    return Error{Error::Kind::kUnsupported,
                 node.place(reader.where) +
                     ": output_type: expected multiple_choice or loglikelihood, got "
                     "loglikelihood_rolling. Use --ppl FILE --protocol lm-eval"};
  } else {
    return wrong(reader, node, "output_type", "multiple_choice or loglikelihood");
  }
  return {};
}

Status read_choices(Reader& reader, const YamlNode& node) {
  if (node.kind != Kind::kSequence) {
    FPTQ_TRY(reader.task.doc_to_choice, template_of(reader, node, "doc_to_choice"));
    return {};
  }
  for (const YamlNode& item : node.items) {
    FPTQ_TRY(std::string text, text_of(reader, item, "doc_to_choice"));
    reader.task.fixed_choices.push_back(std::move(text));
  }
  if (reader.task.fixed_choices.size() < 2) {
    return wrong(reader, node, "doc_to_choice", "at least two texts");
  }
  return {};
}

Status read_process_docs(Reader& reader, const YamlNode& node) {
  if (node.kind != Kind::kMapping) {
    return wrong(reader, node, "process_docs", "a mapping of field names to templates");
  }
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    FPTQ_TRY(TaskText field, template_of(reader, node.items[i], "process_docs: " + node.keys[i]));
    reader.task.process_docs.emplace_back(node.keys[i], std::move(field));
  }
  return {};
}

Status read_count(Reader& reader, const YamlNode& node, std::string_view key, std::size_t& out) {
  FPTQ_TRY(const std::string text, text_of(reader, node, key));
  if (text.empty()) return {};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  if (error == std::errc() && stop == end && out <= 1000) return {};
  return wrong(reader, node, key, "a number from 0 to 1000");
}

Status read_fewshot_config(Reader& reader, const YamlNode& node) {
  if (node.kind != Kind::kMapping) return wrong(reader, node, "fewshot_config", "a mapping");
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& item = node.items[i];
    if (node.keys[i] != "sampler") {
      return item.error(reader.where, "fewshot_config: expected the key sampler, got \"" +
                                          node.keys[i].substr(0, 80) + "\"");
    }
    FPTQ_TRY(const std::string name, text_of(reader, item, "sampler"));
    if (name != "first_n" && name != "default") {
      return wrong(reader, item, "sampler", "first_n or default");
    }
    reader.task.sampler = name == "first_n" ? FewshotSampler::kFirst : FewshotSampler::kRandom;
  }
  return {};
}

// The value of `key` in a mapping, or a text as such.
const YamlNode* find(const YamlNode& node, std::string_view key) {
  if (node.kind != Kind::kMapping) return nullptr;
  const auto at = std::find(node.keys.begin(), node.keys.end(), key);
  return at == node.keys.end() ? nullptr
                               : &node.items[static_cast<std::size_t>(at - node.keys.begin())];
}

Status read_metrics(Reader& reader, const YamlNode& node) {
  if (node.kind != Kind::kSequence) return wrong(reader, node, "metric_list", "a list");
  for (const YamlNode& item : node.items) {
    const YamlNode* name = find(item, "metric");
    if (name == nullptr) return wrong(reader, item, "metric_list", "entries with the key metric");
    FPTQ_TRY(const std::string metric, text_of(reader, *name, "metric"));
    if (metric == "acc_norm") {
      reader.task.acc_norm = true;
    } else if (metric == "perplexity") {
      reader.task.perplexity = true;
    } else if (metric != "acc") {
      return Error{Error::Kind::kUnsupported,
                   name->place(reader.where) +
                       ": metric: expected acc, acc_norm or perplexity, got \"" +
                       metric.substr(0, 80) + "\""};
    }
  }
  reader.has_metrics = true;
  return {};
}

// The values of two keys that a mapping has to have, and no others.
Status read_pair(Reader& reader, const YamlNode& node, std::string_view key,
                 std::string_view first_key, std::string& first, std::string_view second_key,
                 std::string& second) {
  const YamlNode* one = find(node, first_key);
  const YamlNode* two = find(node, second_key);
  if (one == nullptr || two == nullptr || node.keys.size() != 2) {
    return wrong(reader, node, key,
                 "a mapping with " + std::string(first_key) + " and " + std::string(second_key));
  }
  FPTQ_TRY(first, text_of(reader, *one, first_key));
  FPTQ_TRY(second, text_of(reader, *two, second_key));
  return {};
}

Status read_parts(Reader& reader, const YamlNode& node) {
  TaskParts parts;
  FPTQ_TRY_VOID(
      read_pair(reader, node, "parts", "documents", parts.documents, "examples", parts.examples));
  for (const std::string& pattern : {parts.documents, parts.examples}) {
    if (std::count(pattern.begin(), pattern.end(), '*') != 1 ||
        pattern.find("..") != std::string::npos || pattern.starts_with('/')) {
      return wrong(reader, node, "parts",
                   "paths below the directory with one * for the part's name");
    }
  }
  reader.task.parts = std::move(parts);
  return {};
}

Status read_columns(Reader& reader, const YamlNode& node) {
  if (node.kind != Kind::kSequence) return wrong(reader, node, "csv_columns", "a list of names");
  for (const YamlNode& item : node.items) {
    FPTQ_TRY(std::string name, text_of(reader, item, "csv_columns"));
    reader.task.csv_columns.push_back(std::move(name));
  }
  return {};
}

using ReadKey = std::function<Status(Reader&, const YamlNode&)>;

ReadKey into(std::string TaskDefinition::*member, std::string_view key) {
  return [member, key](Reader& reader, const YamlNode& node) {
    return read_text(reader, node, key, reader.task.*member);
  };
}

ReadKey ignored() {
  return [](Reader& /*reader*/, const YamlNode& /*node*/) { return Status(); };
}

const std::vector<std::pair<std::string_view, ReadKey>>& readers() {
  static const std::vector<std::pair<std::string_view, ReadKey>> table = {
      {"task", into(&TaskDefinition::name, "task")},
      {"dataset_path", into(&TaskDefinition::dataset_path, "dataset_path")},
      {"dataset_name", into(&TaskDefinition::dataset_name, "dataset_name")},
      {"test_split", into(&TaskDefinition::split, "test_split")},
      {"validation_split",
       [](Reader& r, const YamlNode& n) {
         return read_text(r, n, "validation_split", r.validation_split);
       }},
      {"training_split",
       [](Reader& r, const YamlNode& n) {
         return read_text(r, n, "training_split", r.training_split);
       }},
      {"fewshot_split", into(&TaskDefinition::fewshot_split, "fewshot_split")},
      {"output_type", read_output},
      {"process_docs", read_process_docs},
      {"doc_to_text",
       [](Reader& r, const YamlNode& n) -> Status {
         FPTQ_TRY(r.task.doc_to_text, template_of(r, n, "doc_to_text"));
         return {};
       }},
      {"doc_to_target",
       [](Reader& r, const YamlNode& n) -> Status {
         FPTQ_TRY(r.task.doc_to_target, template_of(r, n, "doc_to_target"));
         return {};
       }},
      {"doc_to_choice", read_choices},
      {"description",
       [](Reader& r, const YamlNode& n) -> Status {
         FPTQ_TRY(r.task.description, template_of(r, n, "description"));
         return {};
       }},
      {"target_delimiter", into(&TaskDefinition::target_delimiter, "target_delimiter")},
      {"fewshot_delimiter", into(&TaskDefinition::fewshot_delimiter, "fewshot_delimiter")},
      {"num_fewshot",
       [](Reader& r, const YamlNode& n) {
         return read_count(r, n, "num_fewshot", r.task.num_fewshot);
       }},
      {"fewshot_config", read_fewshot_config},
      {"metric_list", read_metrics},
      {"labels_file",
       [](Reader& r, const YamlNode& n) -> Status {
         LabelsFile labels;
         FPTQ_TRY_VOID(
             read_pair(r, n, "labels_file", "suffix", labels.suffix, "field", labels.field));
         r.task.labels_file = std::move(labels);
         return {};
       }},
      {"csv_columns", read_columns},
      {"parts", read_parts},
      // About the harness's own workings.
      {"task_alias", ignored()},
      {"tag", ignored()},
      {"metadata", ignored()},
      {"should_decontaminate", ignored()},
      {"doc_to_decontamination_query", ignored()},
  };
  return table;
}

Status read_key(Reader& reader, const YamlNode& node, const std::string& key) {
  for (const auto& [name, read] : readers()) {
    if (name == key) return read(reader, node);
  }
  const bool known_elsewhere = key == "include" || key == "group" || key == "process_results" ||
                               key == "filter_list" || key == "generation_kwargs";
  if (known_elsewhere) {
    return Error{Error::Kind::kUnsupported,
                 node.place(reader.where) + ": " + key +
                     ": expected a task in one file, with templates and choices, got a key that "
                     "fptq does not take"};
  }
  std::string names;
  for (const auto& [name, read] : readers())
    names += (names.empty() ? "" : ", ") + std::string(name);
  return node.error(reader.where,
                    "unknown key \"" + key.substr(0, 80) + "\"; the keys are " + names);
}

Status check_complete(const Reader& reader) {
  const TaskDefinition& task = reader.task;
  const auto missing = [&](const std::string& key) {
    return Error{Error::Kind::kFormat, reader.where + ": expected the key " + key + ", got none"};
  };
  if (task.name.empty()) return missing("task");
  if (!task.doc_to_text.parsed) return missing("doc_to_text");
  if (!task.doc_to_target.parsed) return missing("doc_to_target");
  const bool has_choices = task.doc_to_choice || !task.fixed_choices.empty();
  if (task.output == TaskOutput::kMultipleChoice && !has_choices) return missing("doc_to_choice");
  if (task.output == TaskOutput::kLogLikelihood && has_choices) {
    return Error{Error::Kind::kFormat,
                 reader.where + ": expected no doc_to_choice with output_type loglikelihood"};
  }
  if (!reader.has_metrics) return missing("metric_list");
  if (task.acc_norm && task.output == TaskOutput::kLogLikelihood) {
    return Error{Error::Kind::kFormat,
                 reader.where + ": expected no acc_norm with output_type loglikelihood"};
  }
  if (task.perplexity && task.output == TaskOutput::kMultipleChoice) {
    return Error{Error::Kind::kFormat,
                 reader.where + ": expected no perplexity with output_type multiple_choice"};
  }
  return {};
}

Error no_such_task(std::string_view name) {
  std::string names;
  for (const std::string& known : builtin_task_names()) {
    names += (names.empty() ? "" : ", ") + known;
  }
  return Error{Error::Kind::kNotFound, "task \"" + std::string(name.substr(0, 80)) +
                                           "\": expected a .yaml file or one of " + names};
}

}  // namespace

Result<TaskDefinition> parse_task(std::string_view yaml, const std::string& where) {
  const Result<YamlNode> parsed = parse_yaml(yaml, where);
  if (!parsed) {
    Error error = parsed.error();
    if (error.message.ends_with("!function")) {
      error.kind = Error::Kind::kUnsupported;
      error.message +=
          ". Python does not run here: write a template, and fields that it needs under "
          "process_docs "
          "(--print-task hellaswag has an example)";
    }
    return error;
  }
  const YamlNode& root = *parsed;
  if (root.kind == Kind::kNull) {
    return Error{Error::Kind::kFormat, where + ": expected a task, got an empty file"};
  }
  if (root.kind != Kind::kMapping) {
    return root.error(
        where, "expected a mapping with the key task, got a " + std::string(root.kind_name()));
  }
  Reader reader;
  reader.where = where;
  for (std::size_t i = 0; i < root.keys.size(); ++i) {
    FPTQ_TRY_VOID(read_key(reader, root.items[i], root.keys[i]));
  }
  FPTQ_TRY_VOID(check_complete(reader));
  TaskDefinition& task = reader.task;
  task.sha256 = sha256_hex(std::as_bytes(std::span(yaml)));
  if (task.split.empty()) task.split = reader.validation_split;
  if (task.fewshot_split.empty()) task.fewshot_split = reader.training_split;
  if (task.fewshot_split.empty()) task.fewshot_split = task.split;
  return std::move(task);
}

std::vector<std::string> builtin_task_names() {
  std::vector<std::string> names;
  for (const BuiltinTask& task : kBuiltinTasks) names.emplace_back(task.name);
  return names;
}

Result<std::string_view> builtin_task_yaml(std::string_view name) {
  for (const BuiltinTask& task : kBuiltinTasks) {
    if (task.name == name) return task.yaml;
  }
  return no_such_task(name);
}

std::optional<std::string_view> part_in_name(std::string_view name) {
  constexpr std::string_view kPrefix = "mmlu_";
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) return std::nullopt;
  return name.substr(kPrefix.size());
}

Result<TaskDefinition> builtin_task(std::string_view name) {
  const bool is_part = part_in_name(name).has_value();
  FPTQ_TRY(const std::string_view yaml, builtin_task_yaml(is_part ? "mmlu" : name));
  FPTQ_TRY(TaskDefinition task, parse_task(yaml, std::string(name) + ".yaml"));
  task.name = name;
  return task;
}

}  // namespace fptq::eval
