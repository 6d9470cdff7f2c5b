#include "bench/machine_load.h"

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

namespace fptq::bench {
namespace {

// An idle system interrupts a busy thread a few times a second.
constexpr double kUsualSwitchesPerSecond = 20.0;
constexpr double kIdleLoadAverage = 0.5;

long involuntary_switches() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

std::string one_decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

}  // namespace

MachineLoad::MachineLoad()
    : start_(std::chrono::steady_clock::now()),
      load_average_(-1.0),
      involuntary_switches_(involuntary_switches()) {
  double average = 0.0;
  if (getloadavg(&average, 1) == 1) load_average_ = average;
}

std::vector<std::string> MachineLoad::warnings(std::size_t threads) const {
  std::vector<std::string> found;
  if (load_average_ > kIdleLoadAverage) {
    found.push_back("the machine was busy before the measurement began: load average " +
                    one_decimal(load_average_) + " over the last minute");
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double per_second =
      static_cast<double>(involuntary_switches() - involuntary_switches_) / seconds;
  if (per_second > kUsualSwitchesPerSecond * static_cast<double>(threads)) {
    found.push_back("other programs took the processor away " + one_decimal(per_second) +
                    " times a second");
  }
  return found;
}

}  // namespace fptq::bench
