// fptq eval: measures one model.

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/commands.h"
#include "cli/evaluation.h"
#include "cli/figures.h"
#include "cli/options.h"
#include "report/comparison.h"

namespace fptq::cli {
namespace {

struct EvalOptions {
  CommonOptions common;
  RunOptions run;
  EvaluationOptions evaluation;
  std::filesystem::path model;
  std::string print_task;
};

Status run_eval(const EvalOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  if (!options.print_task.empty()) {
    FPTQ_TRY(const std::string_view yaml, eval::builtin_task_yaml(options.print_task));
    console.print(yaml);
    return {};
  }
  if (options.model.empty()) {
    return Error{Error::Kind::kInvalidArgument, "eval: expected MODEL (or --print-task NAME)"};
  }
  FPTQ_TRY(TaskSession tasks, TaskSession::open(options.evaluation.tasks,
                                                options.evaluation.measures_text(), console));
  std::vector<Result<std::vector<eval::ModelCost>>> costs;
  if (options.evaluation.bench) {
    FPTQ_TRY(costs, measure_costs({{options.model, options.run}}, options.common,
                                  options.evaluation.bench_flags, console));
  }
  FPTQ_TRY(const Evaluation evaluation,
           evaluate(options.model, options.common, options.run, options.evaluation, tasks, console,
                    {.cost = costs.empty() ? nullptr : costs.data()}));
  report::Comparison alone;
  alone.models.push_back(figures(evaluation));
  console.print(report::terminal_text(report::comparison_table(alone)));
  print_published(evaluation.result, console);
  if (evaluation.result.kl) print_divergence(*evaluation.result.kl, console);
  FPTQ_TRY_VOID(tasks.finish({&evaluation.result}, console));
  FPTQ_TRY_VOID(write_json(options.common, eval::to_json(evaluation.result)));
  return evaluation.budget;
}

}  // namespace

void add_eval_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command =
      app.add_subcommand("eval", "Measure perplexity, tasks, KL divergence and what a model costs");
  add_model_argument(*command, options->model)->required(false);
  command
      ->add_option(
          "--print-task", options->print_task,
          "Print a built-in task as YAML, to start one of your own from, and do nothing else")
      ->type_name("NAME");
  add_evaluation_flags(*command, options->evaluation);
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback([options, &action] { action = [options] { return run_eval(*options); }; });
}

}  // namespace fptq::cli
