// fptq run: generates text.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "engine/session.h"

namespace fptq::cli {
namespace {

struct RunCommandOptions {
  CommonOptions common;
  RunOptions run;
  std::filesystem::path model;
  std::string prompt;
  std::filesystem::path prompt_file;
  std::size_t max_tokens = 128;
  engine::SamplingOptions sampling;
  std::vector<std::string> stops;
  bool ignore_eos = false;
  std::size_t lookup = 0;
};

double per_second(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

Json to_json(const engine::Generation& generation, const std::string& scheme) {
  const engine::GenerationTimings& timings = generation.timings;
  const bool decoded = timings.decode_passes > 0;
  return {{"text", generation.text},
          {"ids", generation.ids},
          {"finish", engine::finish_reason_name(generation.finish)},
          {"scheme", scheme},
          {"prompt_tokens", timings.prompt_tokens},
          {"generated_tokens", timings.generated_tokens},
          {"prefill_s", timings.prefill_s},
          {"decode_s", timings.decode_s},
          {"decode_passes", timings.decode_passes},
          {"drafted_tokens", timings.drafted_tokens},
          {"accepted_tokens", timings.accepted_tokens},
          {"tokens_per_pass", decoded ? Json(timings.tokens_per_pass()) : Json()}};
}

Status run_run(const RunCommandOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  FPTQ_TRY_VOID(engine::check_sampling_options(options.sampling));
  std::string prompt = options.prompt;
  if (!options.prompt_file.empty()) {
    FPTQ_TRY(prompt, read_text_file(options.prompt_file));
  }
  FPTQ_TRY(const LoadedModel loaded,
           load_model(options.model, options.common, options.run, console));
  FPTQ_TRY(const ModelText text, load_text(loaded));

  engine::GenerationRequest request;
  FPTQ_TRY(request.prompt, text.tokenizer.encode(prompt, /*add_special=*/true));
  if (request.prompt.empty() && text.special.bos) request.prompt = {*text.special.bos};
  if (request.prompt.empty()) {
    return Error{Error::Kind::kInvalidArgument,
                 "run: expected a prompt (-p or -f), because this model has no BOS to begin with"};
  }
  request.max_tokens = options.max_tokens;
  request.sampling = options.sampling;
  request.sampling.seed = options.common.seed;
  request.stop_strings = options.stops;
  request.lookup = options.lookup;
  if (!options.ignore_eos) request.stop_ids = text.special.stops;

  // The cache is as long as what can come, up to the model's context or --ctx.
  const std::size_t limit =
      options.run.context != 0 ? options.run.context : loaded.model->config().max_positions;
  const std::size_t capacity = std::min(limit, request.prompt.size() + options.max_tokens);
  FPTQ_TRY(engine::Session session,
           engine::Session::create(*loaded.model, text.tokenizer, capacity, options.run.kv));
  const ProgressFn go_on = console.progress();
  std::string unshown = prompt;  // until it is certain that a text follows
  FPTQ_TRY(const engine::Generation generation,
           session.generate(
               request,
               [&](std::string_view piece) {
                 console.print(unshown.append(piece));
                 unshown.clear();
                 std::fflush(options.common.json_on_stdout() ? stderr : stdout);
                 return report_progress(go_on, "generating", 1, 1);
               },
               go_on));
  console.print(unshown + "\n");
  const engine::GenerationTimings& timings = generation.timings;
  const std::string drafts =
      options.lookup == 0
          ? std::string()
          : fmt::format("; accepted {} of {} drafted tokens, {:.2f} tokens per pass",
                        timings.accepted_tokens, timings.drafted_tokens, timings.tokens_per_pass());
  console.note(fmt::format(
      "{}: prompt {} tokens, {:.0f} tokens/s; generated {} tokens, {:.1f} tokens/s{}; {}",
      loaded.model->scheme(), timings.prompt_tokens,
      per_second(timings.prompt_tokens, timings.prefill_s), timings.generated_tokens,
      per_second(timings.generated_tokens, timings.decode_s), drafts,
      engine::finish_reason_name(generation.finish)));
  if (generation.finish == engine::FinishReason::kCancelled) return interrupted();
  return write_json(options.common, to_json(generation, loaded.model->scheme()));
}

}  // namespace

void add_run_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<RunCommandOptions>();
  CLI::App* command = app.add_subcommand("run", "Generate text");
  add_model_argument(*command, options->model);
  CLI::Option* prompt =
      command->add_option("-p,--prompt", options->prompt, "What the text begins with")
          ->type_name("TEXT");
  command->add_option("-f,--file", options->prompt_file, "A file that the text begins with")
      ->type_name("FILE")
      ->excludes(prompt);
  command->add_option("-n,--tokens", options->max_tokens, "Tokens to generate at most")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--temp,--temperature", options->sampling.temperature,
                   "0: the most probable token; higher: more surprising")
      ->capture_default_str();
  command->add_option("--top-k", options->sampling.top_k, "Of the K most probable; 0: all")
      ->type_name("K")
      ->capture_default_str();
  command
      ->add_option("--top-p", options->sampling.top_p,
                   "Of the smallest set whose probability reaches P")
      ->type_name("P")
      ->capture_default_str();
  command
      ->add_option("--min-p", options->sampling.min_p,
                   "Of those at least P times as probable as the best")
      ->type_name("P")
      ->capture_default_str();
  command
      ->add_option("--repeat-penalty", options->sampling.repetition_penalty,
                   "Above 1: seen tokens become less probable")
      ->capture_default_str();
  command->add_option("--stop", options->stops, "End before this text; repeatable")
      ->type_name("TEXT")
      ->expected(1)
      ->take_all();
  command->add_flag("--ignore-eos", options->ignore_eos, "Go on after the end of the text");
  add_lookup_flag(*command, options->lookup);
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback([options, &action] { action = [options] { return run_run(*options); }; });
}

}  // namespace fptq::cli
