// What tasks have scored so far, kept where a run that is stopped can find it again.

#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "eval/task.h"

namespace fptq::eval {

// The documents of every task and model of one run, and the file with them when it is complete.
//
// While the run lasts they are lines of FILE.partial, each written as soon as it is known: a line
// {"run": key} begins the documents of one model and task, {"doc", "ll", "greedy"} is one. A line
// that a killed process left half-written is dropped.
class SamplesLog {
 public:
  // resume: takes what FILE.partial holds, if it is there.
  // Errors: kInvalidArgument where FILE.partial is there and is not to be resumed, so that nobody
  // loses it; kFormat where it is something else; kIo.
  [[nodiscard]] static Result<SamplesLog> open(const std::filesystem::path& file, bool resume);

  // Begins a model's task. key: whatever the scores depend on. Returns the documents that were
  // scored under the same key. Errors: kIo, kLimit.
  [[nodiscard]] Result<std::map<std::size_t, DocumentScores>> begin(const Json& key);
  // Errors: kIo, kLimit.
  [[nodiscard]] Status add(std::size_t document, const DocumentScores& scores);

  // Writes FILE with the documents of all results, a line each, and removes FILE.partial.
  // Errors: kIo, kLimit.
  struct Sample {
    std::string model;
    const TaskResult* result;
  };
  [[nodiscard]] Status finish(const std::vector<Sample>& samples);

  [[nodiscard]] const std::filesystem::path& partial() const { return partial_; }

 private:
  SamplesLog(std::filesystem::path file, std::filesystem::path partial)
      : file_(std::move(file)), partial_(std::move(partial)) {}

  [[nodiscard]] Status read_partial();
  [[nodiscard]] Status append(const Json& line);

  std::filesystem::path file_;
  std::filesystem::path partial_;
  std::map<std::string, std::map<std::size_t, DocumentScores>> finished_;  // by the key's text
};

// One line of --samples-out: "doc", "context" (an array where every choice has its own),
// "continuations" (a text where all share it), "ll" in nats, "greedy", "tokens", "target", "acc",
// "acc_norm" where the task has it, and "task" and "model".
[[nodiscard]] Json sample_json(const DocumentScore& document, const std::string& task,
                               const std::string& model);

}  // namespace fptq::eval
