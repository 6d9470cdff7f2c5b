// How long-running library functions tell their caller where they are.

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace fptq {

struct ProgressUpdate {
  std::string_view stage;  // what is being done: "quantizing"
  std::uint64_t done;      // units finished
  std::uint64_t total;     // units in all, at least 1
};

// Called after every unit of work, from the thread that called the library. Returns false to
// stop: the function then fails with Error::Kind::kInterrupted. May be empty.
using ProgressFn = std::function<bool(const ProgressUpdate&)>;

// Calls `progress` if there is one; false means that the work has to stop.
[[nodiscard]] inline bool report_progress(const ProgressFn& progress, std::string_view stage,
                                          std::uint64_t done, std::uint64_t total) {
  return !progress || progress(ProgressUpdate{stage, done, total});
}

}  // namespace fptq
