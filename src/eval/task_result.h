// What a zero-shot or few-shot task measured of one model.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace fptq::eval {

// One document of a task: its requests and what the model made of them.
struct DocumentScore {
  std::size_t document = 0;  // index in the task's data, from 0
  // One context for all continuations, or one for each.
  std::vector<std::string> contexts;
  // One continuation for each request, or one that all contexts share.
  std::vector<std::string> continuations;
  std::vector<double> log_likelihoods;  // nats, one for each request
  std::vector<bool> greedy;             // all tokens of the continuation are the most probable
  std::vector<std::size_t> tokens;      // of each request's continuation
  // The index of the right choice, or the text that is the right continuation.
  std::variant<std::size_t, std::string> target;
  double acc = 0.0;                // 0 or 1
  std::optional<double> acc_norm;  // 0 or 1; absent for tasks without choices
};

// Absent: the task does not define it.
struct TaskResult {
  std::string name;       // "arc_easy"
  std::size_t shots = 0;  // examples in front of each document
  std::string data;       // the file as the user named it
  std::string data_sha256;
  std::vector<DocumentScore> documents;
  std::size_t cut = 0;  // requests whose context was too long for the model and lost its beginning
  double acc = 0.0;     // mean over documents
  std::optional<double> acc_standard_error;  // sample standard deviation / sqrt(n); n >= 2
  std::optional<double> acc_norm;
  std::optional<double> acc_norm_standard_error;
  std::optional<double> perplexity;                 // exp(-mean of log_likelihoods), lambada
  std::optional<double> perplexity_standard_error;  // to first order
  // The parts of a group (mmlu: its subjects), without documents of their own: each names a run of
  // `documents`.
  struct Part {
    std::string name;
    std::size_t begin = 0;  // documents [begin, end)
    std::size_t end = 0;
    double acc = 0.0;
    std::optional<double> acc_standard_error;
  };
  std::vector<Part> parts;
};

}  // namespace fptq::eval
