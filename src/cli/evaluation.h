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
};

// Loads MODEL, measures what was asked for, and lets go of it.
//
// KL divergence is measured last, because its base is then in memory as well.
//   tasks  to run; none where it is empty
//   cost   of the model, as measure_costs() measured it; null: not measured
// Errors: those of `cost` and of tasks; kCheckFailed where a decoder linear would not run the
// scheme of --require; then nothing is measured.
[[nodiscard]] Result<Evaluation> evaluate(
    const std::filesystem::path& model, const CommonOptions& common, const RunOptions& run,
    const EvaluationOptions& options, TaskSession& tasks, Console& console,
    const Result<std::vector<eval::ModelCost>>* cost = nullptr);

// Beside each perplexity the published figures that it compares with, or what those are of.
void print_published(const eval::EvalResult& result, Console& console);

// The divergence in full: quantiles with their errors, and agreement by how sure the base was.
void print_divergence(const eval::KlDivergence& kl, Console& console);

}  // namespace fptq::cli
