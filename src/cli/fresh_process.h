// Measures what models cost, each time in a fresh process.

#pragma once

#include <CLI/App.hpp>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/console.h"
#include "cli/options.h"
#include "eval/model_cost.h"

namespace fptq::cli {

struct BenchFlags {
  std::size_t prompt_tokens = 512;
  std::size_t generated_tokens = 64;
  std::size_t rounds = 3;
};

// --bench-prompt and --bench-tokens.
void add_bench_length_flags(CLI::App& command, BenchFlags& flags);
// Those and --bench-rounds.
void add_bench_flags(CLI::App& command, BenchFlags& flags);

// A model and how it runs.
struct CostSubject {
  std::filesystem::path model;
  RunOptions run;
};

// The arguments of this program that measure a subject once and write JSON to its output.
[[nodiscard]] std::vector<std::string> measure_arguments(const CostSubject& subject,
                                                         const CommonOptions& common,
                                                         const BenchFlags& flags);

// Which subject is measured when: each in turn, `rounds` times (0 1 0 1 0 1).
[[nodiscard]] std::vector<std::size_t> take_turns(std::size_t subjects, std::size_t rounds);

// A sentence where a model's measurement was disturbed: other processes used the machine, or its
// rounds differ by more than they usually do. rounds: at least one.
[[nodiscard]] std::optional<std::string> noise_warning(const std::string& model,
                                                       const std::vector<eval::ModelCost>& rounds);

// What models cost, in the order of `subjects`: of each, `rounds` processes of this program that
// measure nothing else. Models take_turns(), so that a machine that becomes slower, or
// hotter, does so for all of them. Warns where other processes used the machine meanwhile.
//
// A model that cannot be measured has the error of its process, and no more turns. Errors of the
// whole: kInterrupted, kIo where no process can be started.
[[nodiscard]] Result<std::vector<Result<std::vector<eval::ModelCost>>>> measure_costs(
    const std::vector<CostSubject>& subjects, const CommonOptions& common, const BenchFlags& flags,
    Console& console);

}  // namespace fptq::cli
