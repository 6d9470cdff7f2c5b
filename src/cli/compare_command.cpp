// fptq compare: measures a baseline and the models made from it.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/evaluation.h"
#include "cli/figures.h"
#include "cli/fresh_process.h"
#include "cli/manifest_figures.h"
#include "cli/options.h"
#include "cli/provenance.h"
#include "cli/sample_texts.h"
#include "eval/compare.h"
#include "report/comparison.h"
#include "report/format.h"
#include "report/table.h"

namespace fptq::cli {
namespace {

constexpr std::size_t kDefaultSamples = 5;
constexpr std::size_t kMostSamples = 100;

struct CompareOptions {
  CommonOptions common;
  RunOptions run;
  EvaluationOptions evaluation;
  std::filesystem::path baseline;
  std::vector<std::filesystem::path> candidates;
  std::filesystem::path html;
  std::filesystem::path markdown;
  std::filesystem::path csv;
  std::optional<std::size_t> samples;  // absent: kDefaultSamples with --html, else 0
};

// The files whose contents decide what is measured.
std::vector<std::filesystem::path> text_files(const CompareOptions& options) {
  std::vector<std::filesystem::path> files;
  for (const auto& file : {options.evaluation.perplexity_text, options.evaluation.kl_text}) {
    if (!file.empty() && std::find(files.begin(), files.end(), file) == files.end()) {
      files.push_back(file);
    }
  }
  return files;
}

// What lets somebody repeat the measurement. Errors: kNotFound, kIo.
Result<Facts> provenance(const CompareOptions& options) {
  Facts lines = program_facts(options.common);
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
  for (const std::filesystem::path& file : text_files(options)) {
    FPTQ_TRY(std::string hash, file_sha256(file));
    lines.emplace_back("sha256 of " + file.string(), std::move(hash));
  }
  FPTQ_TRY(const Facts baseline, model_facts(options.baseline));
  lines.insert(lines.end(), baseline.begin(), baseline.end());
  for (const std::filesystem::path& model : options.candidates) {
    FPTQ_TRY(const Facts candidate, model_facts(model));
    lines.insert(lines.end(), candidate.begin(), candidate.end());
  }
  return lines;
}

// Sample texts of the models that were measured, if any were asked for.
//   models  those of `page`, in its order
Status add_asked_samples(const CompareOptions& options,
                         const std::vector<std::filesystem::path>& models,
                         const RunOptions& baseline_run, Console& console,
                         report::Comparison& page) {
  const std::size_t count = options.samples.value_or(options.html.empty() ? 0 : kDefaultSamples);
  if (count == 0) return {};
  std::string text;
  if (const auto files = text_files(options); !files.empty()) {
    FPTQ_TRY(text, read_text_file(files.front()));
  }
  std::vector<RunOptions> runs(models.size(), options.run);
  runs.front() = baseline_run;
  return add_samples(models, runs, sample_prompts(text, count), options.common, console, page);
}

// The page says as well what was said while its numbers were taken.
void note_noise(const eval::EvalResult& result, report::Comparison& page) {
  if (result.resources.rounds.empty()) return;
  if (auto warning = noise_warning(result.model, result.resources.rounds)) {
    page.warnings.push_back(*std::move(warning));
  }
}

// Adds what only reports show. What cannot be had becomes a warning on the page, and is no reason
// to lose the rest. Returns the first error.
Status complete_page(const CompareOptions& options,
                     const std::vector<std::filesystem::path>& models,
                     const RunOptions& baseline_run, Console& console, report::Comparison& page) {
  Status first;
  const auto note = [&](const Status& status, const std::string& without) {
    if (status) return;
    page.warnings.push_back("without " + without + ": " + status.error().message);
    if (first) first = status;
  };
  if (!options.html.empty()) {
    for (std::size_t i = 0; i < models.size(); ++i) {
      note(add_manifest_figures(models[i], page.models[i]), "errors by layer");
    }
  }
  note(add_asked_samples(options, models, baseline_run, console, page), "sample texts");
  // Hashing a model of one file takes a while.
  if (!options.html.empty() || !options.markdown.empty()) {
    Result<Facts> facts = provenance(options);
    note(facts ? Status() : facts.error(), "all that repeats the measurement");
    if (facts) page.provenance = *std::move(facts);
  }
  return first;
}

Status write_reports(const CompareOptions& options, const report::Comparison& page) {
  if (!options.markdown.empty()) {
    FPTQ_TRY_VOID(write_text_file(options.markdown, report::comparison_markdown(page)));
  }
  if (!options.csv.empty()) {
    FPTQ_TRY_VOID(write_text_file(options.csv, report::comparison_csv(page)));
  }
  if (!options.html.empty()) {
    FPTQ_TRY_VOID(write_text_file(options.html, report::comparison_html(page)));
  }
  return {};
}

// Summary, table and what its marks mean.
void print_comparison(const report::Comparison& page, Console& console) {
  std::string text = report::terminal_text(report::comparison_table(page));
  text += "\n";
  for (const std::string& sentence : report::summary_sentences(page)) {
    text += report::printable(sentence) + "\n";
  }
  for (const std::string& line : report::comparison_legend(page)) {
    text += "  " + report::printable(line) + "\n";
  }
  console.print(text);
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

// --samples-out with the documents and windows of all models.
Status write_samples(const eval::Comparison& comparison, TaskSession& tasks, Console& console) {
  std::vector<const eval::EvalResult*> results = {&comparison.baseline};
  for (const eval::EvalResult& candidate : comparison.candidates) results.push_back(&candidate);
  return tasks.finish(results, console);
}

void print_verdict(const std::string& models, const eval::Verdict& verdict, Console& console) {
  std::string line = fmt::format("{}: {} {}", models, verdict.measure, verdict.sentence);
  if (!verdict.won.empty() || !verdict.lost.empty()) {
    line += fmt::format("; {} lost, {} won", verdict.lost.size(), verdict.won.size());
  }
  console.print(line + "\n");
}

// A line for each verdict. Of a task's parts those that differ, and how many do not.
void print_verdicts(const std::string& models, const std::vector<eval::Verdict>& verdicts,
                    Console& console) {
  std::map<std::string, std::size_t> alike;  // parts, by the measure that they are of
  for (const eval::Verdict& verdict : verdicts) {
    if (verdict.part_of.empty() || verdict.distinguishable.value_or(false)) {
      print_verdict(models, verdict, console);
    } else {
      ++alike[verdict.part_of];
    }
  }
  for (const auto& [measure, count] : alike) {
    console.print(fmt::format("{}: {}: {} of its parts not distinguishable by themselves\n", models,
                              measure, count));
  }
}

// Which differences from the baseline, and between candidates, are more than chance.
void print_verdicts(const eval::Comparison& comparison, Console& console) {
  for (std::size_t i = 0; i < comparison.verdicts.size(); ++i) {
    print_verdicts(comparison.candidates[i].model, comparison.verdicts[i], console);
  }
  for (const eval::CandidatePair& pair : comparison.pairs) {
    const std::string models = comparison.candidates[pair.second].model + " beside " +
                               comparison.candidates[pair.first].model;
    print_verdicts(models, pair.verdicts, console);
  }
}

Status run_compare(const CompareOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  EvaluationOptions baseline_evaluation = options.evaluation;
  baseline_evaluation.kl_base.clear();
  FPTQ_TRY(TaskSession tasks, TaskSession::open(options.evaluation.tasks,
                                                options.evaluation.measures_text(), console));
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
  EvaluationOptions evaluation = options.evaluation;
  const bool wants_kl = !evaluation.kl_text.empty() || evaluation.kl_budget.has_value();
  if (evaluation.kl_base.empty() && wants_kl) evaluation.kl_base = options.baseline;
  const bool kl_follows = evaluation.kl_base == options.baseline;
  FPTQ_TRY(Evaluation baseline,
           evaluate(options.baseline, options.common, baseline_run, baseline_evaluation, tasks,
                    console, {.cost = cost_of(0), .kl_follows = kl_follows}));
  report::Comparison page;
  std::vector<std::filesystem::path> measured = {options.baseline};
  page.models.emplace_back();  // the baseline's, once all of it is known
  note_noise(baseline.result, page);
  eval::Comparison comparison;
  Status outcome;
  std::size_t index = 0;
  for (const std::filesystem::path& model : options.candidates) {
    Result<Evaluation> candidate =
        evaluate(model, options.common, options.run, evaluation, tasks, console,
                 {.cost = cost_of(++index), .baseline = kl_follows ? &baseline : nullptr});
    note_outcome(candidate ? candidate->budget : candidate.error(), outcome);
    if (candidate) {
      page.models.push_back(figures(*candidate));
      measured.push_back(model);
      note_noise(candidate->result, page);
      comparison.candidates.push_back(std::move(candidate->result));
    } else if (!is_failed_check(outcome)) {
      break;
    }
  }
  // What was measured took long: it is shown whatever came after it.
  if (outcome || outcome.error().kind != Error::Kind::kInterrupted) {
    note_outcome(
        finish_evaluation(options.baseline, options.common, baseline_run, baseline, console),
        outcome);
  }
  page.models.front() = figures(baseline);
  comparison.baseline = std::move(baseline.result);
  eval::AllVerdicts verdicts = eval::judge_differences(comparison.baseline, comparison.candidates);
  comparison.verdicts = std::move(verdicts.candidates);
  comparison.pairs = std::move(verdicts.pairs);
  for (std::size_t i = 0; i < comparison.verdicts.size(); ++i) {
    page.models[i + 1].verdicts = figures(comparison.verdicts[i]);
  }
  for (const eval::CandidatePair& pair : comparison.pairs) {
    // The baseline is the page's first model.
    page.pairs.push_back({pair.first + 1, pair.second + 1, figures(pair.verdicts)});
  }
  print_comparison(page, console);
  print_verdicts(comparison, console);
  print_published(comparison.baseline, console);
  if (!outcome && !is_failed_check(outcome)) return outcome;
  FPTQ_TRY_VOID(write_samples(comparison, tasks, console));
  const Status completed = complete_page(options, measured, baseline_run, console, page);
  if (!completed) outcome = completed;
  FPTQ_TRY_VOID(write_reports(options, page));
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
  command->add_option("--markdown", options->markdown, "Write summary and table as Markdown")
      ->type_name("FILE");
  command->add_option("--csv", options->csv, "Write all numbers with all their digits")
      ->type_name("FILE");
  command
      ->add_option("--samples", options->samples,
                   "Let the models continue N prompts greedily, side by side on the page (default: "
                   "5 with --html)")
      ->check(CLI::Range(std::size_t{0}, kMostSamples))
      ->type_name("N");
  add_evaluation_flags(*command, options->evaluation);
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback([options, &action] { action = [options] { return run_compare(*options); }; });
}

}  // namespace fptq::cli
