#include "eval/machine_noise.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string>

namespace fptq::eval {
namespace {

// Of all processors together. The system counts in hundredths of a second, this process in finer
// steps: over less time the difference of both says nothing.
constexpr double kShortestTotal = 0.5;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// Total time between the two moments; nothing where the clock of ticks did not advance.
std::optional<double> elapsed(const std::optional<CpuTimes>& begin,
                              const std::optional<CpuTimes>& end) {
  if (!begin || !end || end->total_s <= begin->total_s) return std::nullopt;
  return end->total_s - begin->total_s;
}

}  // namespace

std::optional<CpuTimes> parse_cpu_times(std::string_view stat, double ticks_per_second) {
  constexpr std::string_view kKey = "cpu ";
  if (!stat.starts_with(kKey)) return std::nullopt;
  stat = stat.substr(kKey.size(), stat.find('\n') - kKey.size());
  // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user and nice.
  std::array<std::uint64_t, 8> ticks{};
  for (std::uint64_t& value : ticks) {
    stat.remove_prefix(std::min(stat.find_first_not_of(' '), stat.size()));
    const auto [end, error] = std::from_chars(stat.data(), stat.data() + stat.size(), value);
    if (error != std::errc()) return std::nullopt;
    stat.remove_prefix(static_cast<std::size_t>(end - stat.data()));
  }
  CpuTimes times;
  for (const std::uint64_t value : ticks) {
    times.total_s += static_cast<double>(value) / ticks_per_second;
  }
  times.idle_s = static_cast<double>(ticks[3] + ticks[4]) / ticks_per_second;
  return times;
}

std::optional<CpuTimes> cpu_times() {
  std::ifstream stat("/proc/stat");
  std::string line;
  if (!std::getline(stat, line)) return std::nullopt;
  std::optional<CpuTimes> times =
      parse_cpu_times(line, static_cast<double>(::sysconf(_SC_CLK_TCK)));
  if (!times) return std::nullopt;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  times->own_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  return times;
}

std::optional<double> idle_share(const std::optional<CpuTimes>& begin,
                                 const std::optional<CpuTimes>& end) {
  const std::optional<double> total = elapsed(begin, end);
  if (!total) return std::nullopt;
  return std::clamp((end->idle_s - begin->idle_s) / *total, 0.0, 1.0);
}

std::optional<double> others_share(const std::optional<CpuTimes>& begin,
                                   const std::optional<CpuTimes>& end) {
  const std::optional<double> total = elapsed(begin, end);
  if (!total || *total < kShortestTotal) return std::nullopt;
  const double idle = end->idle_s - begin->idle_s;
  const double own = end->own_s - begin->own_s;
  return std::clamp((*total - idle - own) / *total, 0.0, 1.0);
}

}  // namespace fptq::eval
