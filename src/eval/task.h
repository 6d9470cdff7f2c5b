// Running a task on a model.

#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "eval/task_definition.h"
#include "eval/task_documents.h"
#include "eval/task_encoding.h"
#include "eval/task_result.h"
#include "model/llama_model.h"

namespace fptq::eval {

struct TaskModel {
  model::LlamaModel* model = nullptr;
  ThreadPool* pool = nullptr;
  model::KvType kv = model::KvType::kF32;
  TaskEncoder encoder;
};

// The scores of one document's requests.
using DocumentScores = std::vector<SequenceScore>;

struct TaskOptions {
  std::optional<std::size_t> shots = {};  // nothing: the task's own
  std::size_t limit = 0;                  // documents of each part at most; 0: all
  // Documents that were scored before, by their place in all parts of the data, whatever the limit
  // is; they are not scored again.
  std::map<std::size_t, DocumentScores> finished = {};
  // Called for each further document, in order, some at a time.
  std::function<Status(std::size_t document, const DocumentScores& scores)> on_scored = {};
};

// name: of the data, for messages and the result.
//
// Errors: build_requests()'s, encode_request()'s, LogLikelihoodScorer::score()'s, those of
// on_scored; kInterrupted.
[[nodiscard]] Result<TaskResult> run_task(const TaskDefinition& task,
                                          const TaskDocuments& documents, const std::string& name,
                                          const TaskModel& model, const TaskOptions& options,
                                          const ProgressFn& progress = {});

}  // namespace fptq::eval
