#include "eval/resources.h"

#include <cstdlib>
#include <fstream>
#include <string>

namespace fptq::eval {

std::optional<std::uint64_t> peak_rss_bytes() {
  // getrusage() has the same number, but what clear_refs resets is only this one.
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kKey = "VmHWM:";
    if (!line.starts_with(kKey)) continue;
    return std::strtoull(line.c_str() + kKey.size(), nullptr, 10) * 1024;
  }
  return std::nullopt;
}

bool reset_peak_rss() {
  std::ofstream clear_refs("/proc/self/clear_refs");
  clear_refs << "5" << std::flush;
  return clear_refs.good();
}

}  // namespace fptq::eval
