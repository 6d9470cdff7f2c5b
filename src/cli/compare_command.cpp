// fptq compare: measures a baseline and the models made from it.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/evaluation.h"
#include "cli/figures.h"
#include "cli/options.h"
#include "eval/compare.h"
#include "report/comparison.h"

namespace fptq::cli {
namespace {

struct CompareOptions {
  CommonOptions common;
  RunOptions run;
  EvaluationOptions evaluation;
  std::filesystem::path baseline;
  std::vector<std::filesystem::path> candidates;
  std::filesystem::path html;
};

// Whatever lets somebody repeat the measurement.
std::vector<std::pair<std::string, std::string>> provenance(const CompareOptions& options) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"program", "fptq " FPTQ_VERSION},
      {"CPU", cpu_name()},
      {"threads", std::to_string(options.common.threads)},
      {"kernels",
       options.common.isa.empty() ? std::string(isa_name(best_isa())) : options.common.isa}};
  if (options.run.kv != model::KvType::kF32) {
    lines.emplace_back("key-value cache", options.run.kv == model::KvType::kInt8
                                              ? "int8 (baseline: f32)"
                                              : "bf16 (baseline: f32)");
  }
  if (!options.evaluation.perplexity_text.empty()) {
    lines.emplace_back("perplexity of", options.evaluation.perplexity_text.string());
  }
  if (!options.evaluation.kl_text.empty()) {
    lines.emplace_back("KL divergence on", options.evaluation.kl_text.string());
  }
  return lines;
}

bool is_failed_check(const Status& status) {
  return !status && status.error().kind == Error::Kind::kCheckFailed;
}

// Adds a candidate's outcome to that of the candidates before it: all failed checks are told, and
// any other error counts for more than they do.
void note_outcome(const Status& candidate, Status& outcome) {
  if (candidate) return;
  if (is_failed_check(candidate) && is_failed_check(outcome)) {
    outcome = Error{Error::Kind::kCheckFailed,
                    outcome.error().message + "; " + candidate.error().message};
  } else {
    outcome = candidate;
  }
}

// --samples-out with the documents of all models.
Status write_samples(const eval::Comparison& comparison, TaskSession& tasks) {
  std::vector<eval::SamplesLog::Sample> samples;
  const auto add = [&](const eval::EvalResult& result) {
    for (const eval::TaskResult& task : result.tasks) samples.push_back({result.model, &task});
  };
  add(comparison.baseline);
  for (const eval::EvalResult& candidate : comparison.candidates) add(candidate);
  return tasks.finish(samples);
}

// Which differences from the baseline are more than chance.
void print_verdicts(const eval::Comparison& comparison, Console& console) {
  for (std::size_t i = 0; i < comparison.verdicts.size(); ++i) {
    for (const eval::Verdict& verdict : comparison.verdicts[i]) {
      std::string line = fmt::format("{}: {} {}", comparison.candidates[i].model, verdict.measure,
                                     verdict.sentence);
      if (!verdict.won.empty() || !verdict.lost.empty()) {
        line += fmt::format("; {} lost, {} won", verdict.lost.size(), verdict.won.size());
      }
      console.print(line + "\n");
    }
  }
}

Status run_compare(const CompareOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  EvaluationOptions baseline_evaluation = options.evaluation;
  baseline_evaluation.kl_base.clear();
  FPTQ_TRY(TaskSession tasks, TaskSession::open(options.evaluation.tasks, console));
  RunOptions baseline_run = options.run;
  // Both are about the candidates.
  baseline_run.require.clear();
  baseline_run.kv = model::KvType::kF32;
  // The baseline's cost first, then the candidates'; empty without --bench.
  std::vector<Result<std::vector<eval::ModelCost>>> costs;
  if (options.evaluation.bench) {
    std::vector<CostSubject> subjects = {{options.baseline, baseline_run}};
    for (const auto& model : options.candidates) subjects.push_back({model, options.run});
    FPTQ_TRY(costs,
             measure_costs(subjects, options.common, options.evaluation.bench_flags, console));
  }
  const auto cost_of = [&](std::size_t index) { return costs.empty() ? nullptr : &costs[index]; };
  FPTQ_TRY(Evaluation baseline, evaluate(options.baseline, options.common, baseline_run,
                                         baseline_evaluation, tasks, console, cost_of(0)));
  report::Comparison page;
  page.provenance = provenance(options);
  page.models.push_back(figures(baseline));
  eval::Comparison comparison;
  comparison.baseline = std::move(baseline.result);

  EvaluationOptions evaluation = options.evaluation;
  const bool wants_kl = !evaluation.kl_text.empty() || evaluation.kl_budget.has_value();
  if (evaluation.kl_base.empty() && wants_kl) evaluation.kl_base = options.baseline;
  Status outcome;
  std::size_t index = 0;
  for (const std::filesystem::path& model : options.candidates) {
    Result<Evaluation> candidate =
        evaluate(model, options.common, options.run, evaluation, tasks, console, cost_of(++index));
    note_outcome(candidate ? candidate->budget : candidate.error(), outcome);
    if (candidate) {
      page.models.push_back(figures(*candidate));
      comparison.candidates.push_back(std::move(candidate->result));
    } else if (!is_failed_check(outcome)) {
      break;
    }
  }
  // What was measured took long: it is shown whatever came after it.
  console.print(report::terminal_text(report::comparison_table(page)));
  comparison.verdicts = eval::judge_differences(comparison.baseline, comparison.candidates);
  print_verdicts(comparison, console);
  print_published(comparison.baseline, console);
  if (!outcome && !is_failed_check(outcome)) return outcome;
  FPTQ_TRY_VOID(write_samples(comparison, tasks));
  if (!options.html.empty()) {
    FPTQ_TRY_VOID(write_text_file(options.html, report::comparison_html(page)));
  }
  FPTQ_TRY_VOID(write_json(options.common, eval::to_json(comparison)));
  return outcome;
}

}  // namespace

void add_compare_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command =
      app.add_subcommand("compare", "Measure a baseline and models made from it, in one table");
  command->add_option("BASE", options->baseline, "The model to compare with")
      ->required()
      ->type_name("");
  command->add_option("CANDIDATE", options->candidates, "Models made from it")
      ->required()
      ->type_name("");
  command->add_option("--html", options->html, "Write a page that needs nothing else")
      ->type_name("FILE");
  add_evaluation_flags(*command, options->evaluation);
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback([options, &action] { action = [options] { return run_compare(*options); }; });
}

}  // namespace fptq::cli
