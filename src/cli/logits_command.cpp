// fptq logits: the logits of given ids, as NumPy reads them.

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
#include "cli/model_input.h"
#include "cli/options.h"
#include "io/npy.h"

namespace fptq::cli {
namespace {

// Positions whose logits are in memory at a time: 64 MiB with a vocabulary of 128 Ki.
constexpr std::size_t kChunkTokens = 128;

struct LogitsOptions {
  CommonOptions common;
  RunOptions run;
  std::filesystem::path model;
  std::vector<std::int32_t> ids;
  bool last = false;
  std::filesystem::path output;
};

Status run_logits(const LogitsOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  FPTQ_TRY(const LoadedModel loaded,
           load_model(options.model, options.common, options.run, console));
  model::LlamaModel& model = *loaded.model;
  const std::size_t tokens = options.ids.size();
  const std::size_t vocabulary = model.config().vocab_size;
  const std::size_t rows = options.last ? 1 : tokens;
  FPTQ_TRY(model::KvCache cache, model.new_cache(tokens, options.run.kv));
  FPTQ_TRY(OutputFile file, io::create_npy(options.output, {rows, vocabulary}));

  const ProgressFn progress = console.progress();
  std::vector<float> logits;
  for (std::size_t begin = 0; begin < tokens; begin += kChunkTokens) {
    model::SequenceInput input;
    input.ids = std::span(options.ids).subspan(begin, std::min(kChunkTokens, tokens - begin));
    input.cache = &cache;
    input.total_length = tokens;
    const std::size_t end = begin + input.ids.size();
    std::size_t wanted_rows = input.ids.size();
    input.logits = model::LogitsWanted::kAll;
    if (options.last) {
      wanted_rows = end == tokens ? 1 : 0;
      input.logits = end == tokens ? model::LogitsWanted::kLast : model::LogitsWanted::kNone;
    }
    logits.resize(wanted_rows * vocabulary);
    FPTQ_TRY_VOID(model.forward(std::span(&input, 1), logits));
    FPTQ_TRY_VOID(io::append_npy(file, logits));
    if (!report_progress(progress, "tokens", end, tokens)) {
      return interrupted();
    }
  }
  FPTQ_TRY_VOID(file.commit());
  console.note(
      fmt::format("wrote float32 [{}, {}] to {}", rows, vocabulary, options.output.string()));
  return write_json(options.common, Json{{"file", options.output.string()},
                                         {"shape", {rows, vocabulary}},
                                         {"scheme", model.scheme()}});
}

}  // namespace

void add_logits_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand("logits", "Write the logits of ids as a .npy file");
  add_model_argument(*command, options->model);
  command->add_option("--ids", options->ids, "Token ids: 1,2,3")
      ->required()
      ->delimiter(',')
      ->type_name("IDS");
  command->add_flag("--last", options->last, "Of the last position only");
  command->add_option("-o,--output", options->output, "Where to write float32 [T, V]")
      ->required()
      ->type_name("FILE.npy");
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback([options, &action] { action = [options] { return run_logits(*options); }; });
}

}  // namespace fptq::cli
