// fptq convert: the same weights in another container.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/options.h"
#include "quantize/convert.h"

namespace fptq::cli {
namespace {

struct ConvertCommandOptions {
  CommonOptions common;
  std::filesystem::path model;
  std::filesystem::path output;
  std::string target;
  std::string dtype;
  bool overwrite = false;
};

Status run_convert(const ConvertCommandOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  FPTQ_TRY(const quantize::ConvertTarget target, quantize::parse_convert_target(options.target));
  FPTQ_TRY(const auto checkpoint, io::open_checkpoint(options.model));
  ThreadPool pool(options.common.threads);
  quantize::ConvertOptions how;
  how.output = options.output;
  how.overwrite = options.overwrite;
  how.pool = &pool;
  if (options.dtype == "f32") how.dtype = DType::kF32;
  if (options.dtype == "f16") how.dtype = DType::kF16;
  if (options.dtype == "bf16") how.dtype = DType::kBF16;
  how.progress = console.progress();
  FPTQ_TRY(const quantize::ConvertReport report,
           quantize::convert_checkpoint(*checkpoint, target, how));
  for (const std::string& warning : report.warnings) console.warn(warning);
  console.print(fmt::format("{}: {:.1f} MB, largest error {:g}\n", options.output.string(),
                            static_cast<double>(report.output_bytes) / 1e6, report.largest_error));
  return write_json(options.common, Json{{"output", options.output.string()},
                                         {"output_bytes", report.output_bytes},
                                         {"largest_error", report.largest_error}});
}

}  // namespace

void add_convert_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<ConvertCommandOptions>();
  CLI::App* command = app.add_subcommand("convert", "Change the container, not the numbers");
  add_model_argument(*command, options->model);
  command->add_option("-o,--output", options->output, "The directory to write")
      ->required()
      ->type_name("OUT");
  command->add_option("--to", options->target, "hf, or dense: quantized weights dequantized")
      ->required()
      ->type_name("TARGET");
  command->add_option("--dtype", options->dtype, "Type of float weights (default: the source's)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("TYPE");
  command->add_flag("--overwrite", options->overwrite, "Replace OUT, once the new one is complete");
  add_common_flags(*command, options->common);
  command->callback([options, &action] { action = [options] { return run_convert(*options); }; });
}

}  // namespace fptq::cli
