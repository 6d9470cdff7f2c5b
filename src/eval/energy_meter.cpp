#include "eval/energy_meter.h"

#include <fstream>
#include <string>

namespace fptq::eval {
namespace {

std::optional<std::uint64_t> read_number(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::uint64_t value = 0;
  if (!(stream >> value)) return std::nullopt;
  return value;
}

std::string read_word(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string word;
  stream >> word;
  return word;
}

}  // namespace

EnergyMeter::EnergyMeter(const std::filesystem::path& powercap) {
  std::error_code ignored;
  for (const auto& zone : std::filesystem::directory_iterator(powercap, ignored)) {
    // "package-0"; the zones inside of it ("core", "dram") are counted by it or apart from it.
    if (!read_word(zone.path() / "name").starts_with("package")) continue;
    const auto range_uj = read_number(zone.path() / "max_energy_range_uj");
    packages_.push_back({zone.path() / "energy_uj", range_uj.value_or(0), std::nullopt});
  }
}

void EnergyMeter::start() {
  for (Package& package : packages_) package.start_uj = read_number(package.counter);
}

std::optional<double> EnergyMeter::joules() const {
  if (packages_.empty()) return std::nullopt;
  double sum_uj = 0.0;
  for (const Package& package : packages_) {
    const std::optional<std::uint64_t> now_uj = read_number(package.counter);
    if (!package.start_uj || !now_uj) return std::nullopt;
    const bool wrapped = *now_uj < *package.start_uj;
    sum_uj += static_cast<double>(*now_uj) - static_cast<double>(*package.start_uj) +
              (wrapped ? static_cast<double>(package.range_uj) : 0.0);
  }
  return sum_uj * 1e-6;
}

}  // namespace fptq::eval
