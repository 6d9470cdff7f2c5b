// fptq verify: whether an output is what its manifest says, and what its recipe makes of the base.

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
#include "quantize/verify.h"

namespace fptq::cli {
namespace {

struct VerifyCommandOptions {
  CommonOptions common;
  std::filesystem::path out;
  std::filesystem::path base;
  std::string tensor;
  std::string calib;
};

std::string summary(const quantize::VerifyReport& report, const std::string& out) {
  std::string text = fmt::format("{}: {} files, {} tensors, {:.1f} MB hashed", out, report.files,
                                 report.tensors, static_cast<double>(report.bytes) / 1e6);
  if (report.source_tensors != 0) {
    text += fmt::format("; {} tensors of the base hashed", report.source_tensors);
  }
  if (report.rederivation != quantize::Rederivation::kNone) {
    text += fmt::format(
        "; {} tensors, {:.1f} MB derived again from the recipe{}", report.rederived_tensors,
        static_cast<double>(report.rederived_bytes) / 1e6,
        report.rederivation == quantize::Rederivation::kRepeated ? " by repeating the run" : "");
  }
  text += fmt::format("; {:.1f} s\n", report.seconds);
  if (!report.written_by_version.empty()) {
    text += fmt::format("written by fptq {}{}, recipe {}\n", report.written_by_version,
                        report.written_by_cpu.empty() ? "" : " on " + report.written_by_cpu,
                        report.recipe);
  }
  return text;
}

Status run_verify(const VerifyCommandOptions& options) {
  if (options.base.empty() && !(options.tensor.empty() && options.calib.empty())) {
    return Error{Error::Kind::kInvalidArgument,
                 "verify: --tensor and --calib are about deriving again: expected --base MODEL"};
  }
  Console console(options.common.quiet, options.common.json_on_stdout());
  std::unique_ptr<io::Checkpoint> base;
  if (!options.base.empty()) {
    FPTQ_TRY(base, io::open_checkpoint(options.base));
  }
  ThreadPool pool(options.common.threads);
  quantize::VerifyOptions how;
  how.pool = &pool;
  how.base = base.get();
  how.tensor_pattern = options.tensor;
  how.calibration = options.calib;
  how.ram_limit_bytes = options.common.ram_limit_bytes;
  how.progress = console.progress();
  FPTQ_TRY(const quantize::VerifyReport report, quantize::verify_checkpoint(options.out, how));
  const std::string out = options.out.string();
  for (const quantize::VerifyFinding& finding : report.findings) {
    console.print(quantize::finding_text(finding) + "\n");
  }
  if (report.findings_total > report.findings.size()) {
    console.print(fmt::format("and {} more\n", report.findings_total - report.findings.size()));
  }
  for (const std::string& note : report.notes) console.warn(note);
  console.print(summary(report, out));
  FPTQ_TRY_VOID(write_json(options.common, quantize::to_json(report, out)));
  if (report.passed()) return {};
  return Error{Error::Kind::kCheckFailed,
               fmt::format("{}: {} of what was checked {} not hold", out, report.findings_total,
                           report.findings_total == 1 ? "does" : "do")};
}

}  // namespace

void add_verify_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<VerifyCommandOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "Check what quantize wrote: hashes, structure, and against the base every byte");
  command->add_option("OUT", options->out, "A directory that quantize wrote")
      ->required()
      ->type_name("");
  command
      ->add_option("--base", options->base,
                   "The checkpoint it was made from: derive its tensors again and compare")
      ->type_name("MODEL");
  command
      ->add_option("--tensor", options->tensor,
                   "With --base: only tensors in whose name this is found")
      ->type_name("REGEX");
  command
      ->add_option("--calib", options->calib,
                   "With --base: where the calibration text lies (default: as the recipe says)")
      ->type_name("FILE[:FORMAT]");
  add_common_flags(*command, options->common);
  command->callback([options, &action] { action = [options] { return run_verify(*options); }; });
}

}  // namespace fptq::cli
