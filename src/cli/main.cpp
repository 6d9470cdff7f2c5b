// The program: parses the command line, runs one command, and turns its outcome into an exit code.

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/hub_models.h"

namespace fptq::cli {
namespace {

// What is wrong with the command's name, if it is wrong: CLI11 would only say that one is required.
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return {};
  std::string known;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == argv[1]) return {};
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  return "no command \"" + std::string(argv[1]) + "\": expected one of " + known;
}

// Whether the command that was parsed was told to be quiet.
bool is_quiet(const CLI::App& app) {
  const CLI::Option* quiet = app.get_subcommands().front()->get_option_no_throw("--quiet");
  return quiet != nullptr && quiet->count() > 0;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Quantizes Llama models, runs them in integer arithmetic, and measures what was lost.",
      "fptq");
  app.set_version_flag("--version", "fptq " FPTQ_VERSION);
  app.require_subcommand(1);
  app.fallthrough(false);

  Action action;
  add_quantize_command(app, action);
  add_run_command(app, action);
  add_eval_command(app, action);
  add_compare_command(app, action);
  add_explain_command(app, action);
  add_bench_command(app, action);
  add_measure_command(app, action);
  add_inspect_command(app, action);
  add_verify_command(app, action);
  add_convert_command(app, action);
  add_tokenize_command(app, action);
  add_logits_command(app, action);
  add_pull_command(app, action);

  if (const std::string unknown = unknown_command(app, argc, argv); !unknown.empty()) {
    print_error(unknown);
    return kExitUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app.exit(error);  // --help and --version print to stdout
      return kExitDone;
    }
    print_error(error.what());
    const auto commands = app.get_subcommands();
    std::fprintf(stderr, "`fptq %s--help` says what is accepted\n",
                 commands.empty() ? "" : (commands.front()->get_name() + " ").c_str());
    return kExitUsage;
  }

  Console downloads(is_quiet(app), /*json_on_stdout=*/false);
  fetch_named_models(downloads);
  Status status = action();
  if (status) status = finish_stdout();
  if (status) return kExitDone;
  print_error(status.error().message);
  return exit_code(status.error().kind);
}

}  // namespace
}  // namespace fptq::cli

int main(int argc, char** argv) {
  try {
    return fptq::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    fptq::cli::print_error("out of memory");
    return fptq::cli::kExitLimit;
  } catch (const std::exception& exception) {
    // fptq reports with Result; only a library below it can throw.
    fptq::cli::print_error(exception.what());
    return fptq::cli::kExitBadInput;
  }
}
