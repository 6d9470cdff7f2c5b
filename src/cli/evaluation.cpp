#include "cli/evaluation.h"

#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/evaluated_model.h"
#include "eval/kl.h"
#include "eval/resources.h"
#include "report/format.h"
#include "report/table.h"

namespace fptq::cli {
namespace {

// The text that divergences are measured on.
Result<std::filesystem::path> kl_file(const EvaluationOptions& options) {
  const std::filesystem::path& file =
      options.kl_text.empty() ? options.perplexity_text : options.kl_text;
  if (!file.empty()) return file;
  return Error{Error::Kind::kInvalidArgument, "--kl: expected --kl-text FILE or --ppl FILE"};
}

// Perplexities that take the windows of a divergence, each where it is wanted.
struct SharingRuns {
  PerplexityRun* base = nullptr;
  PerplexityRun* candidate = nullptr;
};

// Lets those take the divergence's windows that have the same tokens. Errors: kl_context()'s.
Status share_windows(const EvaluatedModel& base, const EvaluatedModel& candidate,
                     const std::string& text, SharingRuns runs, eval::KlOptions& how) {
  FPTQ_TRY(const std::size_t context, eval::kl_context(base.view, candidate.view, how));
  const auto sharing = [&](PerplexityRun* run, const EvaluatedModel& model) {
    const bool shares = run != nullptr && run->may_share(text) &&
                        run->shares(model.view, context, base.view.block_start);
    return shares ? run : nullptr;
  };
  runs = {sharing(runs.base, base), sharing(runs.candidate, candidate)};
  if (runs.base == nullptr && runs.candidate == nullptr) return {};
  how.on_scored = [runs](std::size_t window, const eval::WindowScore& of_base,
                         const eval::WindowScore& of_candidate) -> Status {
    if (runs.base != nullptr) FPTQ_TRY_VOID(runs.base->take(window, of_base));
    if (runs.candidate != nullptr) FPTQ_TRY_VOID(runs.candidate->take(window, of_candidate));
    return {};
  };
  return {};
}

// Ends an evaluation's perplexities, running what is left of them.
Status finish_perplexities(const EvaluatedModel& model, Evaluation& evaluation, Console& console) {
  eval::EvalResult& result = evaluation.result;
  FPTQ_TRY(result.perplexities, evaluation.unfinished->finish(model, console));
  evaluation.unfinished.reset();
  for (const eval::Perplexity& measured : result.perplexities) {
    result.published.push_back(
        eval::published_perplexities(model.loaded.model->config(), measured));
  }
  return {};
}

// Divergence of a candidate, whose perplexity takes windows of it, and that of the baseline, which
// is finished here because its model is in memory. baseline: null where it is not measured.
Result<eval::KlDivergence> measure_kl(const EvaluatedModel& candidate, const CommonOptions& common,
                                      const RunOptions& run, const EvaluationOptions& options,
                                      Evaluation& evaluation, Evaluation* baseline,
                                      TaskSession& session, Console& console) {
  FPTQ_TRY(const std::filesystem::path file, kl_file(options));
  FPTQ_TRY(const std::string text, read_text_file(file));
  RunOptions base_run = run;
  // Both are about the candidate: what its cache costs is a part of its divergence.
  base_run.require.clear();
  base_run.kv = model::KvType::kF32;
  // --ram-limit is for both models together.
  CommonOptions base_common = common;
  const bool is_packed = candidate.loaded.model->config().quantization.has_value();
  if (common.ram_limit_bytes > 0 && is_packed) {
    const std::uint64_t taken = candidate.loaded.model->bytes().total();
    base_common.ram_limit_bytes =
        common.ram_limit_bytes > taken ? common.ram_limit_bytes - taken : 1;
  }
  const std::optional<std::uint64_t> available = eval::available_memory_bytes();
  FPTQ_TRY(const EvaluatedModel base,
           load_for_evaluation(options.kl_base, base_common, base_run, console));
  const std::uint64_t base_bytes = base.loaded.model->bytes().total();
  if (available && base_bytes > *available) {
    console.warn(fmt::format(
        "--kl {}: its weights take {} and {} of memory are available, so parts of them will be "
        "read from disk again and again; --windows N takes less time",
        options.kl_base.string(), report::bytes_text(base_bytes), report::bytes_text(*available)));
  }
  eval::KlOptions how;
  FPTQ_TRY(how.documents, eval::parse_document_mode(options.documents));
  how.context = run.context;
  how.max_windows = options.max_windows;
  PerplexityRun* of_base =
      baseline != nullptr && baseline->unfinished ? &*baseline->unfinished : nullptr;
  PerplexityRun* of_candidate = evaluation.unfinished ? &*evaluation.unfinished : nullptr;
  FPTQ_TRY_VOID(share_windows(base, candidate, text, {of_base, of_candidate}, how));
  std::size_t section = 0;
  if (eval::SamplesLog* log = session.log()) {
    Json key = {{"measure", "kl"},
                {"model", model_key(evaluation.result.model, candidate.loaded, run)},
                {"base", model_key(options.kl_base.string(), base.loaded, base_run)},
                {"text_sha256", sha256_hex(std::as_bytes(std::span(text)))},
                {"documents", options.documents},
                {"context", run.context}};
    FPTQ_TRY(eval::Finished finished, log->begin(key));
    section = finished.section;
    how.finished = std::move(finished.divergences);
    how.on_compared = [log, section](std::size_t window,
                                     std::span<const eval::TokenDivergence> positions) {
      return log->add(section, window, positions);
    };
  }
  Result<eval::KlDivergence> result =
      eval::measure_kl(base.view, candidate.view, *candidate.loaded.pool, text, file.string(), how,
                       console.progress());
  if (!result) return session.with_hint(result.error());
  if (eval::SamplesLog* log = session.log()) log->end(section, result->window_kl.size());
  if (of_base != nullptr) FPTQ_TRY_VOID(finish_perplexities(base, *baseline, console));
  return result;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void add_evaluation_flags(CLI::App& command, EvaluationOptions& options) {
  command.add_option("--ppl", options.perplexity_text, "Measure perplexity on this text")
      ->type_name("FILE");
  command.add_option("--protocol", options.protocol, "gptq, llamacpp, lm-eval, or all of them")
      ->check(CLI::IsMember({"gptq", "llamacpp", "lm-eval", "all"}))
      ->type_name("NAME")
      ->capture_default_str();
  command
      .add_option("--documents", options.documents,
                  "What the text is: whole, wikitext, or auto to find out")
      ->check(CLI::IsMember({"auto", "whole", "wikitext"}))
      ->type_name("MODE")
      ->capture_default_str();
  command.add_option("--windows", options.max_windows, "Score the first N windows only")
      ->check(CLI::Range(0, 1'000'000'000))
      ->type_name("N");
  command.add_option("--kl", options.kl_base, "Measure KL divergence from this model")
      ->type_name("BASE");
  command.add_option("--kl-text", options.kl_text, "On this text (default: that of --ppl)")
      ->type_name("FILE");
  command
      .add_option("--kl-budget", options.kl_budget, "Fail where the mean KL divergence is above")
      ->type_name("NATS");
  add_task_flags(command, options.tasks);
  command.add_flag("--bench", options.bench,
                   "Measure speed and memory as well, in fresh processes");
  add_bench_flags(command, options.bench_flags);
}

Result<Evaluation> evaluate(const std::filesystem::path& model, const CommonOptions& common,
                            const RunOptions& run, const EvaluationOptions& options,
                            TaskSession& tasks, Console& console, const Alongside& alongside) {
  const auto* cost = alongside.cost;
  if (cost != nullptr && !*cost) return cost->error();
  const bool own_peak = eval::reset_peak_rss();
  const auto start = std::chrono::steady_clock::now();
  FPTQ_TRY(EvaluatedModel evaluated, load_for_evaluation(model, common, run, console));
  Evaluation evaluation;
  eval::EvalResult& result = evaluation.result;
  result.model = model.string();
  result.scheme = evaluated.loaded.model->scheme();
  result.resources.load_s = seconds_since(start);
  result.resources.disk_bytes = evaluated.loaded.checkpoint->weight_file_bytes();
  result.resources.disk_bytes_of = eval::disk_bytes(*evaluated.loaded.checkpoint);
  result.resources.weights_bytes = evaluated.loaded.model->bytes().total();

  const bool kl_runs = !options.kl_base.empty();
  if (!options.perplexity_text.empty()) {
    FPTQ_TRY(evaluation.unfinished,
             PerplexityRun::begin({options.perplexity_text, options.protocol, options.documents,
                                   options.max_windows, run.context},
                                  evaluated, run, result.model, tasks));
    bool waits = false;
    if (kl_runs || alongside.kl_follows) {
      FPTQ_TRY(const std::filesystem::path file, kl_file(options));
      FPTQ_TRY(const std::string text, read_text_file(file));
      waits = evaluation.unfinished->may_share(text);
    }
    FPTQ_TRY_VOID(waits ? evaluation.unfinished->measure_unshared(evaluated, console)
                        : finish_perplexities(evaluated, evaluation, console));
  }
  FPTQ_TRY(result.tasks, tasks.run(result.model, evaluated.loaded, *evaluated.text, evaluated.view,
                                   run, console));
  if (own_peak) result.resources.peak_rss_bytes = eval::peak_rss_bytes();
  if (cost != nullptr) eval::add_costs(**cost, result.resources);
  evaluation.receipt = evaluated.loaded.model->receipt();
  if (kl_runs) {
    FPTQ_TRY(result.kl, measure_kl(evaluated, common, run, options, evaluation, alongside.baseline,
                                   tasks, console));
    if (options.kl_budget && !(result.kl->mean <= *options.kl_budget)) {
      evaluation.budget =
          Error{Error::Kind::kCheckFailed,
                fmt::format("--kl-budget {}: {} has a mean KL divergence of {:.6g} nats",
                            *options.kl_budget, result.model, result.kl->mean)};
    }
  }
  if (evaluation.unfinished && !alongside.kl_follows) {
    FPTQ_TRY_VOID(finish_perplexities(evaluated, evaluation, console));
  }
  return evaluation;
}

Status finish_evaluation(const std::filesystem::path& model, const CommonOptions& common,
                         const RunOptions& run, Evaluation& evaluation, Console& console) {
  if (!evaluation.unfinished) return {};
  FPTQ_TRY(const EvaluatedModel evaluated, load_for_evaluation(model, common, run, console));
  return finish_perplexities(evaluated, evaluation, console);
}

void print_published(const eval::EvalResult& result, Console& console) {
  for (std::size_t i = 0; i < result.published.size(); ++i) {
    const eval::Perplexity& measured = result.perplexities[i];
    const std::string how =
        fmt::format("{} ctx {}", eval::protocol_name(measured.protocol), measured.context);
    for (const eval::PublishedPerplexity& figure : result.published[i]) {
      console.print(fmt::format("published for {} ({}) under {}: {} ({})\n", figure.model,
                                figure.precision, how, figure.value, figure.source));
    }
    if (!result.published[i].empty()) continue;
    console.note(
        eval::is_wikitext2_test(measured)
            ? fmt::format("{}: no published figure is known for a model of this shape", how)
            : fmt::format("{} on this text compares with no published figure: those are "
                          "of {}",
                          how, eval::published_conditions(measured.protocol)));
  }
}

void print_divergence(const eval::KlDivergence& kl, Console& console) {
  const eval::DivergenceErrors& errors = kl.standard_errors;
  report::Table table;
  table.columns = {{"divergence", report::Align::kLeft},
                   {"mean"},
                   {"median"},
                   {"p90"},
                   {"p99"},
                   {"max"},
                   {"top-1"},
                   {"RMS \u0394p"}};
  const auto percent = [](double share) { return report::fixed(100.0 * share, 2) + " %"; };
  table.rows.push_back({"nats", report::significant(kl.mean, 3), report::significant(kl.median, 3),
                        report::significant(kl.p90, 3), report::significant(kl.p99, 3),
                        report::significant(kl.max, 3), percent(kl.top1_agreement),
                        percent(kl.rms_delta_p)});
  if (errors.mean) {
    table.rows.push_back({"\u00B1", report::significant(*errors.mean, 1),
                          report::significant(*errors.median, 1),
                          report::significant(*errors.p90, 1), report::significant(*errors.p99, 1),
                          "", percent(*errors.top1_agreement), percent(*errors.rms_delta_p)});
  }
  report::Table bins;
  bins.columns = {{"base's top probability", report::Align::kLeft},
                  {"positions"},
                  {"same top token"},
                  {"KL (nats)"}};
  for (const eval::ConfidenceBin& bin : kl.by_confidence) {
    std::string agreement = bin.agreement ? percent(*bin.agreement) : "";
    if (bin.standard_error) agreement += " \u00B1 " + percent(*bin.standard_error);
    bins.rows.push_back({fmt::format("{:.2f} to {:.2f}", bin.from, bin.to),
                         std::to_string(bin.tokens), agreement,
                         bin.mean_kl ? report::significant(*bin.mean_kl, 3) : ""});
  }
  console.print(
      fmt::format("\n{}\n{}{} positions in {} windows of {}; \u00B1: standard error over "
                  "windows\n",
                  report::terminal_text(table), report::terminal_text(bins), kl.tokens,
                  kl.window_kl.size(), kl.context));
}

}  // namespace fptq::cli
