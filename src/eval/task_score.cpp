#include "eval/task_score.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/check.h"
#include "eval/statistics.h"

namespace fptq::eval {
namespace {

std::size_t first_highest(std::span<const double> values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

std::optional<double> error_of(const RunningMoments& moments) {
  if (moments.count() < 2) return std::nullopt;
  return moments.standard_error();
}

// The standard error of a mean over parts, or nothing where a part has one document.
std::optional<double> pooled_error(std::span<const RunningMoments> parts) {
  double squares = 0.0;
  double count = 0.0;
  for (const RunningMoments& part : parts) {
    if (part.count() < 2) return std::nullopt;
    const auto n = static_cast<double>(part.count());
    squares += (n - 1.0) * part.variance();
    count += n;
  }
  return std::sqrt(squares / (count - static_cast<double>(parts.size())) / count);
}

}  // namespace

DocumentScore judge(const TaskDefinition& task, std::size_t index, DocumentRequests requests,
                    std::span<const SequenceScore> scores, std::vector<std::size_t> tokens) {
  FPTQ_CHECK(scores.size() == requests.size() && tokens.size() == scores.size(),
             "a score for each request");
  DocumentScore document;
  document.document = index;
  document.tokens = std::move(tokens);
  for (const SequenceScore& score : scores) {
    document.log_likelihoods.push_back(score.log_likelihood);
    document.greedy.push_back(score.greedy);
  }
  if (task.output == TaskOutput::kLogLikelihood) {
    document.acc = scores.front().greedy ? 1.0 : 0.0;
  } else {
    const std::size_t right = std::get<std::size_t>(requests.target);
    document.acc = first_highest(document.log_likelihoods) == right ? 1.0 : 0.0;
    if (task.acc_norm) {
      std::vector<double> normalized = document.log_likelihoods;
      for (std::size_t i = 0; i < normalized.size(); ++i) {
        normalized[i] /= static_cast<double>(requests.choice_lengths[i]);
      }
      document.acc_norm = first_highest(normalized) == right ? 1.0 : 0.0;
    }
  }
  document.contexts = std::move(requests.contexts);
  document.continuations = std::move(requests.continuations);
  document.target = std::move(requests.target);
  return document;
}

void summarize(const TaskDefinition& task, TaskResult& result) {
  FPTQ_CHECK(!result.documents.empty(), "documents");
  RunningMoments acc;
  RunningMoments acc_norm;
  RunningMoments log_likelihood;
  for (const DocumentScore& document : result.documents) {
    acc.add(document.acc);
    if (document.acc_norm) acc_norm.add(*document.acc_norm);
    log_likelihood.add(document.log_likelihoods.front());
  }
  result.acc = acc.mean();
  result.acc_standard_error = error_of(acc);
  if (task.acc_norm) {
    result.acc_norm = acc_norm.mean();
    result.acc_norm_standard_error = error_of(acc_norm);
  }
  if (task.perplexity) {
    result.perplexity = std::exp(-log_likelihood.mean());
    if (const auto error = error_of(log_likelihood)) {
      result.perplexity_standard_error = *result.perplexity * *error;
    }
  }
  if (result.parts.empty()) return;
  std::vector<RunningMoments> of_parts;
  for (TaskResult::Part& part : result.parts) {
    RunningMoments moments;
    for (std::size_t i = part.begin; i < part.end; ++i) moments.add(result.documents[i].acc);
    part.acc = moments.mean();
    part.acc_standard_error = error_of(moments);
    of_parts.push_back(moments);
  }
  result.acc_standard_error = pooled_error(of_parts);
}

}  // namespace fptq::eval
