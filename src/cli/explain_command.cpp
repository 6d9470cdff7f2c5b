// fptq explain: where a candidate's divergence from its base comes from.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/cpu.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "eval/explain.h"
#include "report/explanation.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::cli {
namespace {

// Rows of the table on a terminal; JSON and page have all of them.
constexpr std::size_t kMostRows = 25;

struct ExplainCommandOptions {
  CommonOptions common;
  std::filesystem::path base;
  std::filesystem::path candidate;
  std::filesystem::path text;
  std::filesystem::path html;
  std::string per = "auto";
  std::string kv = "f32";
  std::size_t context = 0;
  std::size_t windows = 8;
};

// A checkpoint with its tokenizer; no weights are loaded.
struct TextOf {
  std::shared_ptr<const io::Checkpoint> checkpoint;
  std::shared_ptr<text::Tokenizer> tokenizer;
  std::optional<eval::TokenId> block_start;

  [[nodiscard]] eval::EncodeFn encode() const {
    return [tokenizer = tokenizer](std::string_view text) {
      return tokenizer->encode(text, /*add_special=*/true);
    };
  }
};

Result<TextOf> open_with_text(const std::filesystem::path& path) {
  TextOf result;
  FPTQ_TRY(result.checkpoint, io::open_checkpoint(path));
  FPTQ_TRY(const io::TokenizerFiles files, result.checkpoint->tokenizer());
  FPTQ_TRY(text::Tokenizer tokenizer,
           text::Tokenizer::from_json(files.tokenizer_json, path.string()));
  result.tokenizer = std::make_shared<text::Tokenizer>(std::move(tokenizer));
  FPTQ_TRY(const text::SpecialTokens special,
           text::special_tokens(files.others, result.checkpoint->config(), *result.tokenizer,
                                path.string()));
  if (special.encode_adds_bos) result.block_start = special.bos;
  return result;
}

report::ExplanationFigures figures(const eval::Explanation& explanation,
                                   const ExplainCommandOptions& options) {
  report::ExplanationFigures result;
  result.base = options.base.string();
  result.candidate = options.candidate.string();
  result.total = explanation.total;
  result.standard_error = explanation.total_standard_error;
  result.noise_floor = explanation.noise_floor;
  for (const eval::BudgetShare& share : explanation.budget) {
    result.budget.push_back({share.group, share.forward, share.reverse, share.mean});
  }
  for (const eval::PartDivergence& part : explanation.parts) {
    result.parts.push_back({part.name, part.scheme, part.nats, part.standard_error, part.bytes,
                            part.bytes_to_w8c, part.nats_per_mb});
  }
  result.interaction = explanation.interaction;
  result.windows = explanation.windows;
  result.context = explanation.context;
  result.tokens = explanation.tokens;
  result.notes = explanation.notes;
  result.provenance = {{"program", "fptq " FPTQ_VERSION},
                       {"CPU", cpu_name()},
                       {"threads", std::to_string(options.common.threads)},
                       {"text", options.text.string()},
                       {"key-value cache of the candidate", options.kv}};
  return result;
}

Status run_explain(const ExplainCommandOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  FPTQ_TRY(const TextOf base, open_with_text(options.base));
  FPTQ_TRY(const TextOf candidate, open_with_text(options.candidate));
  FPTQ_TRY(const std::string text, read_text_file(options.text));
  ThreadPool pool(options.common.threads);
  eval::ExplainOptions how;
  how.pool = &pool;
  FPTQ_TRY(how.isa, selected_isa(options.common));
  FPTQ_TRY(how.per, eval::parse_explain_per(options.per));
  if (options.kv == "bf16") how.kv = model::KvType::kBF16;
  if (options.kv == "int8") how.kv = model::KvType::kInt8;
  how.context = options.context;
  how.max_windows = options.windows;
  if (options.common.ram_limit_bytes != 0) {
    how.cache_bytes = std::min(how.cache_bytes, options.common.ram_limit_bytes / 2);
  }
  how.progress = console.progress();
  const eval::ExplainText what{text, options.text.string(), base.encode(), candidate.encode(),
                               base.block_start};
  FPTQ_TRY(const eval::Explanation explanation,
           eval::explain_divergence(base.checkpoint, candidate.checkpoint, what, how));
  const report::ExplanationFigures all = figures(explanation, options);
  for (const std::string& note : all.notes) console.warn(note);
  console.print(fmt::format("{} windows of {} tokens, {} positions, noise floor {:.3g} nats\n\n",
                            all.windows, all.context, all.tokens, all.noise_floor));
  console.print(report::terminal_text(report::budget_table(all)));
  if (!all.parts.empty()) {
    console.print("\n" + report::terminal_text(report::parts_table(all, kMostRows)));
  }
  if (!options.html.empty()) {
    FPTQ_TRY_VOID(write_text_file(options.html, report::explanation_html(all)));
  }
  Json json;
  json["base"] = options.base.string();
  json["candidate"] = options.candidate.string();
  const Json explained = eval::to_json(explanation);
  for (const auto& [key, value] : explained.items()) json[key] = value;
  return write_json(options.common, json);
}

}  // namespace

void add_explain_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<ExplainCommandOptions>();
  CLI::App* command = app.add_subcommand(
      "explain", "Say where the KL divergence from a model comes from: groups, blocks, linears");
  command->add_option("BASE", options->base, "The model in floating point")
      ->required()
      ->type_name("");
  command->add_option("CANDIDATE", options->candidate, "A model made from it")
      ->required()
      ->type_name("");
  command->add_option("--text", options->text, "Measure on this text")
      ->required()
      ->type_name("FILE");
  command->add_option("--ctx", options->context, "Tokens in a window (default: 512)")
      ->type_name("N");
  command->add_option("--windows", options->windows, "Measure on the first N windows; 0: all")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--per", options->per, "What is looked at alone: linear, block, none, or auto")
      ->check(CLI::IsMember({"auto", "linear", "block", "none"}))
      ->type_name("WHAT")
      ->capture_default_str();
  command->add_option("--kv", options->kv, "The candidate's key-value cache: f32, bf16 or int8")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->type_name("TYPE")
      ->capture_default_str();
  command->add_option("--html", options->html, "Write a page that needs nothing else")
      ->type_name("FILE");
  add_common_flags(*command, options->common);
  command->callback([options, &action] { action = [options] { return run_explain(*options); }; });
}

}  // namespace fptq::cli
