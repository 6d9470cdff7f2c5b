// The flags --task, --shots, --limit, --samples-out and --resume of `eval` and `compare`.

#pragma once

#include <CLI/App.hpp>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/console.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "eval/samples_log.h"
#include "eval/task.h"

namespace fptq::cli {

struct TaskFlags {
  std::vector<std::string> tasks;  // "arc_easy=FILE", "my_task.yaml=FILE", "arc_easy" from the hub
  std::vector<std::string> shots_from;  // "arc_easy=FILE"
  std::optional<std::size_t> shots;
  std::size_t limit = 0;  // 0: all documents
  std::filesystem::path samples_out;
  bool resume = false;
};

void add_task_flags(CLI::App& command, TaskFlags& flags);

// Whatever the logits of a model depend on, for SamplesLog::begin(). name: as the user gave it.
[[nodiscard]] Json model_key(const std::string& name, const LoadedModel& model,
                             const RunOptions& how);

// The tasks of one command, run on one model after the other.
class TaskSession {
 public:
  // Reads definitions and documents, so that what is wrong with them is said before a model is
  // loaded. measures_text: a perplexity or a divergence is measured, whose windows --samples-out
  // has as well. Errors: kInvalidArgument for flags that do not fit; those of builtin_task(),
  // parse_task(), read_documents(), hub::fetch() and SamplesLog::open().
  [[nodiscard]] static Result<TaskSession> open(const TaskFlags& flags, bool measures_text,
                                                Console& console);

  [[nodiscard]] bool empty() const { return tasks_.empty(); }

  // Runs every task. Errors: run_task()'s, with what --resume can go on from.
  [[nodiscard]] Result<std::vector<eval::TaskResult>> run(const std::string& name,
                                                          const LoadedModel& model,
                                                          const ModelText& text,
                                                          const eval::TextModel& view,
                                                          const RunOptions& how, Console& console);

  // --samples-out, or null.
  [[nodiscard]] eval::SamplesLog* log() { return log_ ? &*log_ : nullptr; }

  // An interrupted measurement's error, with what --resume can go on from.
  [[nodiscard]] Error with_hint(Error error) const;

  // Writes --samples-out. Errors: SamplesLog::finish()'s.
  [[nodiscard]] Status finish(const std::vector<const eval::EvalResult*>& results,
                              Console& console);

 private:
  struct Task {
    eval::TaskDefinition definition;
    eval::TaskDocuments documents;
    std::string data;  // as the user named it
  };

  [[nodiscard]] static Result<Task> read(const std::string& argument, const TaskFlags& flags,
                                         Console& console);

  std::vector<Task> tasks_;
  std::optional<std::size_t> shots_;
  std::size_t limit_ = 0;
  std::optional<eval::SamplesLog> log_;
};

}  // namespace fptq::cli
