// Energy that the processor used, where the machine measures it.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace fptq::eval {

// Reads the counters of Intel's and AMD's running average power limit (RAPL) that Linux shows under
// /sys/class/powercap: joules of whole processor packages, whatever runs on them. Most systems let
// only root read them.
class EnergyMeter {
 public:
  explicit EnergyMeter(const std::filesystem::path& powercap = "/sys/class/powercap");

  // Begins a measurement.
  void start();
  // Joules of all packages since start(). Nothing where there is no counter or one cannot be read.
  // A counter may wrap around once.
  [[nodiscard]] std::optional<double> joules() const;

 private:
  struct Package {
    std::filesystem::path counter;
    std::uint64_t range_uj;  // the counter goes back to 0 after it
    std::optional<std::uint64_t> start_uj;
  };
  std::vector<Package> packages_;
};

}  // namespace fptq::eval
