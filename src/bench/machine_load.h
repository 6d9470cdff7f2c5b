// Whether other work ran on this machine during a measurement.

#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace fptq::bench {

// Watches from construction on.
class MachineLoad {
 public:
  MachineLoad();

  // What may have made a measurement slower, one sentence each: other processes at the start, and
  // threads of this process that were put aside while they had work. threads: those measuring.
  [[nodiscard]] std::vector<std::string> warnings(std::size_t threads) const;

 private:
  std::chrono::steady_clock::time_point start_;
  double load_average_;  // of the last minute; negative where unknown
  long involuntary_switches_;
};

}  // namespace fptq::bench
