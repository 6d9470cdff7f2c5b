// fptq measure: what running a model costs, in this process. `eval --bench` and `compare --bench`
// start it afresh for every measurement.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/fresh_process.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "eval/model_cost.h"
#include "eval/statistics.h"
#include "report/format.h"

namespace fptq::cli {
namespace {

struct MeasureOptions {
  CommonOptions common;
  RunOptions run;
  BenchFlags bench;
  std::filesystem::path model;
};

std::string text_of(const eval::ModelCost& cost) {
  std::vector<double> token_s = cost.token_s;
  std::sort(token_s.begin(), token_s.end());
  std::string text = fmt::format(
      "load         {:.3f} s\n"
      "first token  {:.3f} s after {} tokens\n"
      "prefill      {:.1f} tokens/s\n"
      "decode       {:.2f} ms a token (median of {}; 95 % below {:.2f} ms)\n",
      cost.load_s, cost.first_token_s, cost.prompt_tokens, cost.prefill_tok_s,
      1e3 * eval::quantile(token_s, 0.5), token_s.size(), 1e3 * eval::quantile(token_s, 0.95));
  if (cost.peak_rss_bytes) {
    text += fmt::format("peak memory  {}\n", report::bytes_text(*cost.peak_rss_bytes));
  }
  if (cost.energy_j) {
    text += fmt::format("energy       {:.3f} J a token\n",
                        *cost.energy_j / static_cast<double>(token_s.size()));
  }
  if (cost.others_during) {
    text += fmt::format("other work   {:.0f} % of the processors\n", 100.0 * *cost.others_during);
  }
  return text;
}

Status run_measure(const MeasureOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  LoadedModel loaded;
  const auto load = [&]() -> Result<model::LlamaModel*> {
    FPTQ_TRY(loaded, load_model(options.model, options.common, options.run, console));
    return loaded.model.get();
  };
  eval::CostOptions how;
  how.prompt_tokens = options.bench.prompt_tokens;
  how.generated_tokens = options.bench.generated_tokens;
  how.kv = options.run.kv;
  how.seed = options.common.seed;
  FPTQ_TRY(const eval::ModelCost cost, eval::measure_cost(load, how, console.progress()));
  console.print(text_of(cost));
  return write_json(options.common, eval::to_json(cost));
}

}  // namespace

void add_measure_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<MeasureOptions>();
  CLI::App* command =
      app.add_subcommand("measure", "Measure once what running a model costs, in this process");
  add_model_argument(*command, options->model);
  add_bench_length_flags(*command, options->bench);
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback([options, &action] { action = [options] { return run_measure(*options); }; });
}

}  // namespace fptq::cli
