// What a run has measured so far, kept where a run that is stopped can find it again.

#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "eval/kl.h"
#include "eval/perplexity.h"
#include "eval/result.h"
#include "eval/task.h"

namespace fptq::eval {

// What a stopped run has finished under one key: documents of a task, windows of a perplexity, or
// windows of a divergence, by index.
struct Finished {
  std::size_t section = 0;  // what SamplesLog calls that key
  std::map<std::size_t, DocumentScores> documents;
  std::map<std::size_t, WindowScore> windows;
  std::map<std::size_t, std::vector<TokenDivergence>> divergences;

  [[nodiscard]] std::size_t size() const {
    return documents.size() + windows.size() + divergences.size();
  }
};

// The documents and windows of every measurement and model of one run, and the file with them when
// it is complete.
//
// While the run lasts they are lines of FILE.partial, each written as soon as it is known: a line
// {"run": key} begins one measurement of one model; {"doc", "ll", "greedy"} is a document,
// {"window", "nll", "tokens", "mean", "squares"} a window of a perplexity (nats), {"window", "kl",
// "same", "delta_p", "top_p"} one of a divergence, with a number, or in "same" a digit, for each
// position. A line that a killed process left half-written is dropped. Windows with numbers that
// are not finite are not kept.
class SamplesLog {
 public:
  // resume: takes what FILE.partial holds, if it is there.
  // Errors: kInvalidArgument where FILE.partial is there and is not to be resumed, so that nobody
  // loses it; kFormat where it is something else; kIo.
  [[nodiscard]] static Result<SamplesLog> open(const std::filesystem::path& file, bool resume);

  // Begins a measurement of a model. key: whatever its numbers depend on. Returns what was finished
  // under the same key. Errors: kIo, kLimit.
  [[nodiscard]] Result<Finished> begin(const Json& key);
  // Errors: kIo, kLimit.
  [[nodiscard]] Status add(std::size_t section, std::size_t document, const DocumentScores& scores);
  [[nodiscard]] Status add(std::size_t section, std::size_t window, const WindowScore& score);
  [[nodiscard]] Status add(std::size_t section, std::size_t window,
                           std::span<const TokenDivergence> positions);
  // Ends it: these were needed. What else was finished under its key is kept.
  void end(std::size_t section, const TaskResult& result);
  void end(std::size_t section, std::size_t windows);

  // Documents and windows that were finished before and not needed this time, because less was
  // asked for.
  [[nodiscard]] std::size_t unused() const;

  // Writes FILE with the documents (sample_json()) and windows of all results, a line each, and
  // removes FILE.partial unless something in it is unused. A window of a perplexity has "window",
  // "protocol", "ctx", "nll" in nats, "tokens" and "model", one of a divergence "window", "ctx",
  // "kl" (mean, nats), "tokens" and "model". Errors: kIo, kLimit.
  [[nodiscard]] Status finish(const std::vector<const EvalResult*>& results);

  [[nodiscard]] const std::filesystem::path& partial() const { return partial_; }

 private:
  SamplesLog(std::filesystem::path file, std::filesystem::path partial)
      : file_(std::move(file)), partial_(std::move(partial)) {}

  [[nodiscard]] Status read_partial();
  // Writes a line of a section, behind one that says so where the last line was of another.
  [[nodiscard]] Status append(std::size_t section, const Json& line);
  [[nodiscard]] Status write_line(const std::string& line);

  std::filesystem::path file_;
  std::filesystem::path partial_;
  std::map<std::string, Finished> finished_;  // by the key's text
  struct Section {
    std::string key;  // its text
    Finished unused;
  };
  std::vector<Section> sections_;    // that were begun
  std::size_t written_section_ = 0;  // of the last line
};

// One line of --samples-out: "doc", "context" (an array where every choice has its own),
// "continuations" (a text where all share it), "ll" in nats, "greedy", "tokens", "target", "acc",
// "acc_norm" where the task has it, and "task" and "model".
[[nodiscard]] Json sample_json(const DocumentScore& document, const std::string& task,
                               const std::string& model);

}  // namespace fptq::eval
