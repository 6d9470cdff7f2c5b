// The subcommands, one file each.

#pragma once

#include <CLI/App.hpp>
#include <functional>

#include "base/result.h"

namespace fptq::cli {

// What the user asked for; set by the subcommand that was parsed.
using Action = std::function<Status()>;

// Each registers `fptq NAME` with its flags. When it is parsed, it sets `action`.
void add_bench_command(CLI::App& app, Action& action);
void add_compare_command(CLI::App& app, Action& action);
void add_convert_command(CLI::App& app, Action& action);
void add_eval_command(CLI::App& app, Action& action);
void add_explain_command(CLI::App& app, Action& action);
void add_inspect_command(CLI::App& app, Action& action);
void add_logits_command(CLI::App& app, Action& action);
void add_measure_command(CLI::App& app, Action& action);
void add_pull_command(CLI::App& app, Action& action);
void add_quantize_command(CLI::App& app, Action& action);
void add_run_command(CLI::App& app, Action& action);
void add_tokenize_command(CLI::App& app, Action& action);
void add_verify_command(CLI::App& app, Action& action);

}  // namespace fptq::cli
