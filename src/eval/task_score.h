// From log-likelihoods to a task's metrics.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "eval/log_likelihood.h"
#include "eval/task_definition.h"
#include "eval/task_requests.h"
#include "eval/task_result.h"

namespace fptq::eval {

// What a document's scores are worth, as lm-evaluation-harness judges:
//
//   acc       the choice with the highest log-likelihood is the right one (of equals the first);
//             without choices: every token of the continuation is the most probable
//   acc_norm  the same after a division by the choice's length in code points
//
//   index   of the document
//   tokens  of each request's continuation
[[nodiscard]] DocumentScore judge(const TaskDefinition& task, std::size_t index,
                                  DocumentRequests requests, std::span<const SequenceScore> scores,
                                  std::vector<std::size_t> tokens);

// Fills in what a result says of its documents: acc, acc_norm, perplexity with their standard
// errors, and those of its parts. At least one document.
//
//   standard error of a mean   s / sqrt(n), s the sample standard deviation; none for one document
//   of the mean over parts     sqrt(sum_p (n_p - 1) s_p^2 / (sum_p n_p - P) / sum_p n_p), P parts
//   perplexity                 exp(-mean log-likelihood); its standard error to first order is
//                              perplexity * s / sqrt(n)
//
// Source: lm-evaluation-harness, api/metrics.py (pooled_sample_stderr for parts).
void summarize(const TaskDefinition& task, TaskResult& result);

}  // namespace fptq::eval
