// fptq quantize: a checkpoint in, a quantized checkpoint out.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "quantize/pipeline.h"
#include "quantize/recipe.h"

namespace fptq::cli {
namespace {

struct QuantizeCommandOptions {
  CommonOptions common;
  std::filesystem::path model;
  std::filesystem::path output;
  std::string recipe = "fptq";
  bool print_recipe = false;
  bool overwrite = false;
  bool resume = false;
  bool symmetric = false;
  bool asymmetric = false;
  CLI::Option* seed = nullptr;
  quantize::RecipeOverrides overrides;
};

Result<quantize::Recipe> final_recipe(const QuantizeCommandOptions& options) {
  quantize::RecipeOverrides overrides = options.overrides;
  if (options.symmetric || options.asymmetric) overrides.symmetric = options.symmetric;
  if (options.seed->count() > 0) overrides.seed = options.common.seed;
  FPTQ_TRY(quantize::Recipe recipe, quantize::load_recipe(options.recipe));
  return quantize::apply_overrides(std::move(recipe), overrides);
}

std::string summary(const QuantizeCommandOptions& options, const quantize::Recipe& recipe,
                    const quantize::QuantizeReport& report) {
  return fmt::format(
      "{}: recipe {}, {:.1f} MB -> {:.1f} MB, {:.3f} bits per weight (decoder linears {:.3f}), "
      "relative error {:.2e}, {:.1f} s\n",
      options.output.string(), recipe.name, static_cast<double>(report.source_bytes) / 1e6,
      static_cast<double>(report.output_bytes) / 1e6, report.bits_per_weight,
      report.linear_bits_per_weight, report.relative_error, report.seconds);
}

Json to_json(const QuantizeCommandOptions& options, const quantize::Recipe& recipe,
             const quantize::QuantizeReport& report) {
  return {{"output", options.output.string()},
          {"recipe", recipe.name},
          {"parameters", report.parameters},
          {"source_bytes", report.source_bytes},
          {"output_bytes", report.output_bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"linear_bits_per_weight", report.linear_bits_per_weight},
          {"relative_error", report.relative_error},
          {"seconds", report.seconds},
          {"rounding_seconds", report.rounding_seconds}};
}

Status run_quantize(const QuantizeCommandOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  FPTQ_TRY(const quantize::Recipe recipe, final_recipe(options));
  if (options.print_recipe) {
    console.print(quantize::print_recipe(recipe));
    return {};
  }
  if (options.model.empty() || options.output.empty()) {
    return Error{Error::Kind::kInvalidArgument,
                 "quantize: expected MODEL and -o OUT (or --print-recipe)"};
  }
  FPTQ_TRY(const auto checkpoint, io::open_checkpoint(options.model));
  FPTQ_TRY_VOID(check_tokenizer(*checkpoint, console));
  ThreadPool pool(options.common.threads);
  quantize::QuantizeOptions how;
  how.output = options.output;
  how.overwrite = options.overwrite;
  how.resume = options.resume;
  how.pool = &pool;
  how.ram_limit_bytes = options.common.ram_limit_bytes;
  FPTQ_TRY(how.isa, selected_isa(options.common));
  how.progress = console.progress();
  FPTQ_TRY(const quantize::QuantizeReport report,
           quantize::quantize_checkpoint(recipe, *checkpoint, how));
  for (const std::string& warning : report.warnings) console.warn(warning);
  console.print(summary(options, recipe, report));
  return write_json(options.common, to_json(options, recipe, report));
}

// A flag of the recipe that was given keeps its text; the recipe's parser says what is accepted.
void add_recipe_flag(CLI::App& command, const std::string& name, std::optional<std::string>& value,
                     const std::string& type, const std::string& description) {
  command
      .add_option_function<std::string>(
          name, [&value](const std::string& text) { value = text; }, description)
      ->type_name(type);
}

}  // namespace

void add_quantize_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<QuantizeCommandOptions>();
  CLI::App* command = app.add_subcommand("quantize", "Quantize a checkpoint");
  add_model_argument(*command, options->model)->required(false);
  command->add_option("-o,--output", options->output, "The directory to write")->type_name("OUT");
  command
      ->add_option("--recipe", options->recipe, "fptq, fptq-paper, rtn, int8, nf4, or a YAML file")
      ->type_name("NAME|FILE")
      ->capture_default_str();
  command->add_flag("--print-recipe", options->print_recipe,
                    "Print the recipe with all flags applied as YAML, and do nothing else");
  command->add_flag("--overwrite", options->overwrite, "Replace OUT, once the new one is complete");
  command->add_flag("--resume", options->resume, "Go on where a calibrated run was stopped");

  quantize::RecipeOverrides& overrides = options->overrides;
  add_recipe_flag(*command, "--weights", overrides.weights, "SCHEME",
                  "Of the linears: w4g32, w4g64, w4g128, w4c, w8c, nf4");
  CLI::Option* symmetric =
      command->add_flag("--symmetric", options->symmetric, "Weights without zero points");
  command->add_flag("--asymmetric", options->asymmetric, "Weights with zero points")
      ->excludes(symmetric);
  add_recipe_flag(*command, "--activations", overrides.activations, "MODE",
                  "a8t: 8-bit per token, dynamic; a8s: per tensor, static; a16: not quantized");
  add_recipe_flag(*command, "--embed", overrides.embed, "SCHEME", "w8c, bf16, f16, f32 or keep");
  add_recipe_flag(*command, "--head", overrides.head, "SCHEME",
                  "Of the classifier: w8c, w4g32, bf16, f16, f32 or keep");
  add_recipe_flag(*command, "--rounding", overrides.rounding, "METHOD",
                  "Of the linears: rtn, hqq (no data), search, gptq (calibrated)");
  add_recipe_flag(*command, "--equalize", overrides.equalize, "METHOD",
                  "none, lae, smoothquant or awq");
  add_recipe_flag(*command, "--rotate", overrides.rotate, "METHOD", "none or hadamard");
  add_recipe_flag(
      *command, "--rotate-down", overrides.rotate_down, "METHOD",
      "Of down_proj's inputs, while the model runs: none, hadamard, or auto (what is measured)");
  add_recipe_flag(*command, "--target-bpw", overrides.target_bpw, "BITS",
                  "Give each linear the bits it needs, BITS per weight on average");
  add_recipe_flag(*command, "--massive-inputs", overrides.massive_inputs, "MODE",
                  "With --target-bpw, inputs that lose much on 8 bits: a8 (warn) or a16");
  add_recipe_flag(
      *command, "--calib", overrides.calib, "FILE[:FORMAT]|self",
      "Calibration text: UTF-8 text, JSONL with a `text` field, or the model's samples");
  add_recipe_flag(*command, "--samples", overrides.samples, "N", "Calibration sequences (128)");
  add_recipe_flag(*command, "--seqlen", overrides.seqlen, "N", "Tokens of each (512)");
  add_recipe_flag(*command, "--self-samples", overrides.self_samples, "N",
                  "Sequences drawn from the model beside those of a file (0)");
  add_recipe_flag(*command, "--scale-dtype", overrides.scale_dtype, "TYPE",
                  "Of the scales: auto, f16, bf16 or f32");
  command
      ->add_option("--override", overrides.overrides,
                   "Another scheme for layers whose name matches; repeatable, the first decides")
      ->type_name("REGEX=SCHEME")
      ->expected(1)
      ->take_all();
  add_common_flags(*command, options->common);
  options->seed = command->get_option("--seed");
  command->callback([options, &action] { action = [options] { return run_quantize(*options); }; });
}

}  // namespace fptq::cli
