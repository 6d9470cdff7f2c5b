#include "eval/task.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "eval/log_likelihood.h"
#include "eval/task_requests.h"
#include "eval/task_score.h"

namespace fptq::eval {
namespace {

// Documents that are scored together: the passes are full but for the last ones.
constexpr std::size_t kScoredTogether = 512;

class TaskRun {
 public:
  TaskRun(const TaskDefinition& task, const std::string& name, const TaskModel& model,
          const TaskOptions& options, const ProgressFn& progress)
      : task_(task),
        name_(name),
        model_(model),
        options_(options),
        progress_(progress),
        scorer_(*model.model, *model.pool, model.kv) {}

  Result<TaskResult> run(const TaskDocuments& documents) {
    result_.name = task_.name;
    result_.shots = options_.shots.value_or(task_.num_fewshot);
    result_.data = name_;
    result_.data_sha256 = documents.sha256;
    const bool has_parts = documents.parts.size() > 1;
    std::size_t part_begin = 0;  // in the data
    for (const TaskPart& part : documents.parts) {
      const std::string where =
          task_.name + ": " + name_ + (part.name.empty() ? "" : ": " + part.name);
      FPTQ_TRY(std::vector<DocumentRequests> requests,
               build_requests(task_, part, result_.shots, options_.limit, where));
      if (has_parts) {
        TaskResult::Part range;
        range.name = part.name;
        range.begin = requests_.size();
        range.end = requests_.size() + requests.size();
        result_.parts.push_back(std::move(range));
      }
      for (std::size_t i = 0; i < requests.size(); ++i) places_.push_back(part_begin + i);
      part_begin += part.documents.size();
      std::move(requests.begin(), requests.end(), std::back_inserter(requests_));
    }
    for (std::size_t begin = 0; begin < requests_.size(); begin += kScoredTogether) {
      FPTQ_TRY_VOID(score_block(begin, std::min(begin + kScoredTogether, requests_.size())));
    }
    summarize(task_, result_);
    return std::move(result_);
  }

 private:
  // A document whose tokens are known.
  struct Encoded {
    std::size_t index;
    std::vector<EncodedRequest> requests;
    bool is_finished;  // its scores were given
  };

  // The scores of documents that are on their way, reported in the order of the documents.
  struct OpenDocuments {
    std::vector<const Encoded*> documents;
    std::vector<DocumentScores> scores;
    std::vector<std::size_t> left;         // requests of each without a score
    std::vector<std::size_t> document_of;  // by sequence
    std::vector<std::size_t> request_of;
    std::size_t reported = 0;
  };

  Status score_block(std::size_t begin, std::size_t end) {
    FPTQ_TRY(const std::vector<Encoded> documents, encode(begin, end));
    std::vector<ScoredSequence> sequences;
    OpenDocuments open;
    for (const Encoded& document : documents) {
      if (document.is_finished) continue;
      for (std::size_t i = 0; i < document.requests.size(); ++i) {
        sequences.push_back(document.requests[i].sequence);
        open.document_of.push_back(open.documents.size());
        open.request_of.push_back(i);
      }
      open.documents.push_back(&document);
      open.scores.emplace_back(document.requests.size());
      open.left.push_back(document.requests.size());
    }
    if (!sequences.empty()) {
      const auto on_scored = [&](std::size_t sequence, const SequenceScore& score) {
        return take_score(open, sequence, score);
      };
      FPTQ_TRY_VOID(scorer_.score(sequences, on_scored));
    }
    std::size_t next = 0;
    for (const Encoded& document : documents) {
      std::vector<std::size_t> tokens;
      for (const EncodedRequest& request : document.requests) {
        tokens.push_back(request.tokens);
        result_.cut += request.cut ? 1 : 0;
      }
      const DocumentScores& known = document.is_finished
                                        ? options_.finished.at(places_[document.index])
                                        : open.scores[next++];
      result_.documents.push_back(judge(task_, places_[document.index],
                                        std::move(requests_[document.index]), known,
                                        std::move(tokens)));
    }
    return {};
  }

  Status take_score(OpenDocuments& open, std::size_t sequence, const SequenceScore& score) {
    const std::size_t of = open.document_of[sequence];
    open.scores[of][open.request_of[sequence]] = score;
    --open.left[of];
    const std::size_t before = open.reported;
    for (; open.reported < open.left.size() && open.left[open.reported] == 0; ++open.reported) {
      const std::size_t index = open.documents[open.reported]->index;
      if (options_.on_scored) {
        FPTQ_TRY_VOID(options_.on_scored(places_[index], open.scores[open.reported]));
      }
    }
    if (open.reported == before) return {};
    const std::size_t last = open.documents[open.reported - 1]->index;
    if (report_progress(progress_, task_.name, last + 1, requests_.size())) return {};
    return Error{Error::Kind::kInterrupted, task_.name + ": interrupted"};
  }

  Result<std::vector<Encoded>> encode(std::size_t begin, std::size_t end) {
    std::vector<Encoded> documents(end - begin);
    std::vector<Status> outcomes(end - begin);
    model_.pool->parallel_for(end - begin, 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        outcomes[i] = encode_document(begin + i, documents[i]);
      }
    });
    for (const Status& outcome : outcomes) {
      if (!outcome) return outcome.error();
    }
    return documents;
  }

  Status encode_document(std::size_t index, Encoded& document) {
    const DocumentRequests& requests = requests_[index];
    document.index = index;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      FPTQ_TRY(EncodedRequest request,
               encode_request(model_.encoder, requests.context(i), requests.continuation(i),
                              task_.name + ": " + name_ + ": document " + std::to_string(index)));
      document.requests.push_back(std::move(request));
    }
    const auto finished = options_.finished.find(places_[index]);
    document.is_finished =
        finished != options_.finished.end() && finished->second.size() == requests.size();
    return {};
  }

  const TaskDefinition& task_;
  const std::string& name_;
  const TaskModel& model_;
  const TaskOptions& options_;
  const ProgressFn& progress_;
  LogLikelihoodScorer scorer_;
  TaskResult result_;
  std::vector<DocumentRequests> requests_;  // of all parts
  std::vector<std::size_t> places_;         // of each in the data, whatever the limit is
};

}  // namespace

Result<TaskResult> run_task(const TaskDefinition& task, const TaskDocuments& documents,
                            const std::string& name, const TaskModel& model,
                            const TaskOptions& options, const ProgressFn& progress) {
  FPTQ_CHECK(model.model != nullptr && model.pool != nullptr && model.encoder.encode &&
                 model.encoder.encode_plain,
             "a model and its tokenizer");
  return TaskRun(task, name, model, options, progress).run(documents);
}

}  // namespace fptq::eval
