// What a model costs.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/result.h"

namespace fptq::eval {

// Absent: not measured.
struct Resources {
  std::optional<std::uint64_t> disk_bytes;      // files that hold weights
  std::optional<std::uint64_t> weights_bytes;   // in memory, as the kernels read them
  std::optional<std::uint64_t> peak_rss_bytes;  // of the process since the model began to load
  std::optional<double> load_s;
  std::optional<double> prefill_tok_s;
  std::optional<double> decode_tok_s;
  std::optional<std::uint64_t> gpu_peak_bytes;
};

// The most memory that this process had resident since it started or since reset_peak_rss().
// Nothing where the system does not tell.
[[nodiscard]] std::optional<std::uint64_t> peak_rss_bytes();

// Begins a new maximum, so that models measured one after the other in one process get numbers
// of their own. False where the system does not allow it; peak_rss_bytes() then still holds what
// came before, and is no number of one model.
bool reset_peak_rss();

}  // namespace fptq::eval
