// How much of the machine other processes use, so that a noisy measurement can be told from a quiet
// one.

#pragma once

#include <optional>
#include <string_view>

namespace fptq::eval {

// Processor time since the machine started, all processors together, in seconds.
struct CpuTimes {
  double total_s = 0.0;
  double idle_s = 0.0;  // waiting for a disk counts as idle
  double own_s = 0.0;   // of this process and its threads, so far
};

// The first line of /proc/stat: nothing where it is not what Linux writes. own_s is left 0.
[[nodiscard]] std::optional<CpuTimes> parse_cpu_times(std::string_view stat,
                                                      double ticks_per_second);

// Of now; nothing where the system does not tell.
[[nodiscard]] std::optional<CpuTimes> cpu_times();

// Share of all processors' time between two moments, in [0, 1], in which nothing ran.
[[nodiscard]] std::optional<double> idle_share(const std::optional<CpuTimes>& begin,
                                               const std::optional<CpuTimes>& end);
// The same, in which other processes ran. Nothing for less than half a second of processor time,
// which the system's clock is too coarse for.
[[nodiscard]] std::optional<double> others_share(const std::optional<CpuTimes>& begin,
                                                 const std::optional<CpuTimes>& end);

}  // namespace fptq::eval
