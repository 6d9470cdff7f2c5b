// What `eval` and `compare` measure of one model.

#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/console.h"
#include "cli/fresh_process.h"
#include "cli/options.h"
#include "cli/perplexity_run.h"
#include "cli/tasks.h"
#include "eval/result.h"
#include "model/llama_model.h"

namespace fptq::cli {

struct EvaluationOptions {
  std::filesystem::path perplexity_text;
  std::string protocol = "gptq";  // or "all"
  std::string documents = "auto";
  std::size_t max_windows = 0;  // 0: all
  std::filesystem::path kl_base;
  std::filesystem::path kl_text;  // empty: perplexity_text
  std::optional<double> kl_budget;
  TaskFlags tasks;
  bool bench = false;
  BenchFlags bench_flags;

  [[nodiscard]] bool measures_text() const {
    return !perplexity_text.empty() || !kl_base.empty() || !kl_text.empty();
  }
};

void add_evaluation_flags(CLI::App& command, EvaluationOptions& options);

struct Evaluation {
  eval::EvalResult result;
  std::vector<model::ReceiptEntry> receipt;
  Status budget;  // kCheckFailed where the mean KL divergence is above --kl-budget
  // Perplexities that wait for the windows of a divergence; those of `result` are not there yet.
  std::optional<PerplexityRun> unfinished;
};

// What an evaluation has to do with others of the same command.
struct Alongside {
  // Of the model, as measure_costs() measured it; null: not measured.
  const Result<std::vector<eval::ModelCost>>* cost = nullptr;
  // Divergences from this model will be measured: perplexities that share their windows stay
  // unfinished.
  bool kl_follows = false;
  // That of the base of the divergence, whose unfinished perplexities are finished with it; or
  // null.
  Evaluation* baseline = nullptr;
};

// Loads MODEL, measures what was asked for, and lets go of it.
//
// KL divergence is measured last, because its base is then in memory as well.
// The windows of a perplexity that the divergence runs too are not run before it, but for the
// first.
//   tasks  to run; none where it is empty
// Errors: those of alongside.cost and of tasks; kCheckFailed where a decoder linear would not run
// the scheme of --require; then nothing is measured.
[[nodiscard]] Result<Evaluation> evaluate(const std::filesystem::path& model,
                                          const CommonOptions& common, const RunOptions& run,
                                          const EvaluationOptions& options, TaskSession& tasks,
                                          Console& console, const Alongside& alongside = {});

// Runs what no divergence ran of an evaluation's perplexities, if anything: the model is loaded
// again. Errors: evaluate()'s.
[[nodiscard]] Status finish_evaluation(const std::filesystem::path& model,
                                       const CommonOptions& common, const RunOptions& run,
                                       Evaluation& evaluation, Console& console);

// Beside each perplexity the published figures that it compares with, or what those are of.
void print_published(const eval::EvalResult& result, Console& console);

// The divergence in full: quantiles with their errors, and agreement by how sure the base was.
void print_divergence(const eval::KlDivergence& kl, Console& console);

}  // namespace fptq::cli
