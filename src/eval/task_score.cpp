#include "eval/task_score.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"
#include "eval/statistics.h"

namespace fptq::eval {
namespace {

std::size_t first_highest(std::span<const double> values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

// sum / n: exact for sums of 0 and 1, which a mean that is updated value by value is not.
double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

RunningMoments moments_of(std::span<const double> values) {
  RunningMoments moments;
  for (const double value : values) moments.add(value);
  return moments;
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
  std::vector<double> acc;
  std::vector<double> acc_norm;
  std::vector<double> log_likelihood;
  for (const DocumentScore& document : result.documents) {
    acc.push_back(document.acc);
    acc_norm.push_back(document.acc_norm.value_or(0.0));
    log_likelihood.push_back(document.log_likelihoods.front());
  }
  result.acc = mean_of(acc);
  result.acc_standard_error = error_of(moments_of(acc));
  if (task.acc_norm) {
    result.acc_norm = mean_of(acc_norm);
    result.acc_norm_standard_error = error_of(moments_of(acc_norm));
  }
  if (task.perplexity) {
    result.perplexity = std::exp(-mean_of(log_likelihood));
    if (const auto error = error_of(moments_of(log_likelihood))) {
      result.perplexity_standard_error = *result.perplexity * *error;
    }
  }
  if (result.parts.empty()) return;
  std::vector<RunningMoments> of_parts;
  for (TaskResult::Part& part : result.parts) {
    const auto values = std::span<const double>(acc).subspan(part.begin, part.end - part.begin);
    part.acc = mean_of(values);
    of_parts.push_back(moments_of(values));
    part.acc_standard_error = error_of(of_parts.back());
  }
  result.acc_standard_error = pooled_error(of_parts);
}

}  // namespace fptq::eval
