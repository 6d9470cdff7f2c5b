#include "cli/fresh_process.h"

#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/child_process.h"
#include "base/json.h"
#include "bench/bench.h"
#include "cli/exit_code.h"

namespace fptq::cli {
namespace {

constexpr const char* kThisProgram = "/proc/self/exe";
// Above this, other processes make a difference that can be seen.
constexpr double kNoisyShare = 0.1;
// (max - min) / median of rounds on a quiet machine stays below this.
constexpr double kUsualSpread = 0.15;

// The kind of error that ends a process of this program with that code.
Error::Kind kind_of(int code) {
  switch (code) {
    case kExitCheckFailed:
      return Error::Kind::kCheckFailed;
    case kExitUsage:
      return Error::Kind::kInvalidArgument;
    case kExitLimit:
      return Error::Kind::kLimit;
    case kExitInterrupted:
      return Error::Kind::kInterrupted;
    default:
      return Error::Kind::kFormat;
  }
}

// What print_error() wrote, without what was written before it.
std::string error_text(std::string_view errors) {
  constexpr std::string_view kMark = "error: ";
  const std::size_t begin = errors.rfind("\nerror: ");
  if (begin != std::string_view::npos) {
    errors.remove_prefix(begin + 1);
  }
  if (errors.starts_with(kMark)) errors.remove_prefix(kMark.size());
  while (errors.ends_with('\n')) errors.remove_suffix(1);
  return std::string(errors);
}

// One process. Errors: the process' own; kIo where it could not be started.
Result<eval::ModelCost> measure_once(const std::vector<std::string>& arguments,
                                     const std::string& model,
                                     const std::function<bool()>& keep_going) {
  FPTQ_TRY(const ChildOutcome outcome, run_child(kThisProgram, arguments, keep_going));
  if (outcome.signal != 0) {
    return Error{Error::Kind::kLimit,
                 fmt::format("{}: the process that measured it was ended by signal {} ({}). Is "
                             "there enough memory?",
                             model, outcome.signal, ::strsignal(outcome.signal))};
  }
  if (outcome.exit_code != kExitDone) {
    return Error{kind_of(outcome.exit_code), error_text(outcome.errors)};
  }
  const std::string where = model + ": the process that measured it";
  FPTQ_TRY(const Json json, parse_json(outcome.output, where));
  return eval::parse_model_cost(json, where);
}

}  // namespace

std::optional<std::string> noise_warning(const std::string& model,
                                         const std::vector<eval::ModelCost>& rounds) {
  double others = 0.0;
  for (const eval::ModelCost& round : rounds) {
    others = std::max(others, round.other_work().value_or(0.0));
  }
  if (others > kNoisyShare) {
    return fmt::format(
        "{}: the machine was busy: other processes used {:.0f} % of the processors "
        "before or while it was measured; close them and measure again",
        model, 100.0 * others);
  }
  std::vector<double> speeds;
  speeds.reserve(rounds.size());
  for (const eval::ModelCost& round : rounds) speeds.push_back(round.decode_tok_s());
  const bench::Spread spread = bench::spread_of(speeds);
  const double width = (spread.max - spread.min) / spread.median;
  if (width <= kUsualSpread) return std::nullopt;
  return fmt::format("{}: rounds differ by {:.0f} percent in tokens per second; measure again",
                     model, 100.0 * width);
}

void add_bench_length_flags(CLI::App& command, BenchFlags& flags) {
  command.add_option("--bench-prompt", flags.prompt_tokens, "Tokens of the prompt")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--bench-tokens", flags.generated_tokens, "Tokens to generate")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20))
      ->type_name("N")
      ->capture_default_str();
}

void add_bench_flags(CLI::App& command, BenchFlags& flags) {
  add_bench_length_flags(command, flags);
  command.add_option("--bench-rounds", flags.rounds, "Fresh processes for each model")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1000}))
      ->type_name("N")
      ->capture_default_str();
}

std::vector<std::string> measure_arguments(const CostSubject& subject, const CommonOptions& common,
                                           const BenchFlags& flags) {
  std::vector<std::string> arguments = {"fptq", "measure", "--json", "-"};
  const auto add = [&](const char* flag, std::string value) {
    arguments.emplace_back(flag);
    arguments.push_back(std::move(value));
  };
  add("--bench-prompt", std::to_string(flags.prompt_tokens));
  add("--bench-tokens", std::to_string(flags.generated_tokens));
  add("--threads", std::to_string(common.threads));
  add("--seed", std::to_string(common.seed));
  add("--kv", std::string(kv_name(subject.run.kv)));
  if (!common.isa.empty()) add("--isa", common.isa);
  if (common.ram_limit_bytes > 0) add("--ram-limit", std::to_string(common.ram_limit_bytes));
  if (!subject.run.require.empty()) add("--require", subject.run.require);
  if (subject.run.activations == model::ActivationMode::kFloat) add("--activations", "a16");
  // A path may begin with a dash.
  arguments.emplace_back("--");
  arguments.push_back(subject.model.string());
  return arguments;
}

std::vector<std::size_t> take_turns(std::size_t subjects, std::size_t rounds) {
  std::vector<std::size_t> order;
  order.reserve(subjects * rounds);
  for (std::size_t turn = 0; turn < subjects * rounds; ++turn) order.push_back(turn % subjects);
  return order;
}

Result<std::vector<Result<std::vector<eval::ModelCost>>>> measure_costs(
    const std::vector<CostSubject>& subjects, const CommonOptions& common, const BenchFlags& flags,
    Console& console) {
  using Rounds = std::vector<eval::ModelCost>;
  std::vector<Result<Rounds>> costs(subjects.size(), Rounds());
  const ProgressFn progress = console.progress();
  const std::uint64_t total = flags.rounds * subjects.size();
  std::uint64_t done = 0;
  const auto keep_going = [&] { return report_progress(progress, "resources", done, total); };
  for (const std::size_t i : take_turns(subjects.size(), flags.rounds)) {
    if (costs[i]) {
      Result<eval::ModelCost> cost = measure_once(measure_arguments(subjects[i], common, flags),
                                                  subjects[i].model.string(), keep_going);
      if (!keep_going() || (!cost && cost.error().kind == Error::Kind::kInterrupted)) {
        return interrupted();
      }
      if (!cost && cost.error().kind == Error::Kind::kIo) return cost.error();
      if (cost) {
        costs[i]->push_back(std::move(*cost));
      } else {
        costs[i] = cost.error();
      }
    }
    ++done;
  }
  keep_going();  // done: the bar goes
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    if (!costs[i]) continue;
    if (const auto warning = noise_warning(subjects[i].model.string(), *costs[i])) {
      console.warn(*warning);
    }
  }
  return costs;
}

}  // namespace fptq::cli
