// How much has arrived, for whoever watches.

#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "base/progress.h"

namespace fptq::hub {

// Counts bytes and reports mebibytes, because people read them. Several threads may count and
// report; the progress function is called by one at a time.
class Meter {
 public:
  explicit Meter(ProgressFn progress) : progress_(std::move(progress)) {}

  void expect(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    total_ += bytes;
  }
  void arrived(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    done_ += bytes;
  }
  void lost(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    done_ -= bytes;
  }

  // False where the user wants to stop.
  [[nodiscard]] bool report() const {
    constexpr std::uint64_t kMiB = 1 << 20;
    const std::lock_guard lock(mutex_);
    // Never the total: that it is all here is said last, by finish().
    const std::uint64_t total = total_ / kMiB + 1;
    const std::uint64_t done = done_ / kMiB;
    return report_progress(progress_, "fetching (MiB)", done < total ? done : total - 1, total);
  }
  void finish() const { (void)report_progress(progress_, "fetching (MiB)", 1, 1); }

 private:
  mutable std::mutex mutex_;
  ProgressFn progress_;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace fptq::hub
