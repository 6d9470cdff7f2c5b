// What a model costs.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "eval/disk_bytes.h"
#include "eval/model_cost.h"

namespace fptq::eval {

// Absent: not measured.
struct Resources {
  std::optional<std::uint64_t> disk_bytes;     // files that hold weights
  std::optional<DiskBytes> disk_bytes_of;      // the same by kind of tensor
  std::optional<std::uint64_t> weights_bytes;  // in memory, as the kernels read them
  // Of a fresh process where there are rounds, else of this one since the model began to load.
  std::optional<std::uint64_t> peak_rss_bytes;
  std::optional<double> load_s;
  std::optional<double> prefill_tok_s;
  std::optional<double> decode_tok_s;
  std::optional<std::uint64_t> gpu_peak_bytes;
  std::optional<double> first_token_s;
  std::optional<double> token_s_median;  // over the tokens of all rounds
  std::optional<double> token_s_p95;
  std::optional<double> energy_j_per_token;  // generated, of the whole processor
  std::optional<double> cpu_idle_before;     // the least of all rounds, 0..1
  std::optional<double> cpu_others_during;   // the most of all rounds, 0..1
  std::vector<ModelCost> rounds;             // fresh processes, in order
};

// Puts what fresh processes measured into `resources`: medians over rounds, the largest peak
// memory. rounds: at least one.
void add_costs(std::vector<ModelCost> rounds, Resources& resources);

// The most memory that this process had resident since it started or since reset_peak_rss().
// Nothing where the system does not tell.
[[nodiscard]] std::optional<std::uint64_t> peak_rss_bytes();

// Begins a new maximum, so that models measured one after the other in one process get numbers
// of their own. False where the system does not allow it; peak_rss_bytes() then still holds what
// came before, and is no number of one model.
bool reset_peak_rss();

// The line MemAvailable of /proc/meminfo, in bytes; nothing where there is none.
[[nodiscard]] std::optional<std::uint64_t> parse_available_memory(std::string_view meminfo);

// Memory that programs can still get before the system swaps or drops what is in use.
[[nodiscard]] std::optional<std::uint64_t> available_memory_bytes();

}  // namespace fptq::eval
