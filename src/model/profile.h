// Where the time of forward passes goes.

#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fptq::model {

// Seconds by kind of operation, in the order in which a pass first ran them. What is quantized for
// a linear together with the operation before it counts as that operation ("norm", "silu_mul").
class Profile {
 public:
  struct Entry {
    std::string_view operation;  // "q_proj", "attention"; a literal
    double seconds;
    std::uint64_t calls;
  };

  void add(std::string_view operation, double seconds) {
    for (Entry& entry : entries_) {
      if (entry.operation != operation) continue;
      entry.seconds += seconds;
      ++entry.calls;
      return;
    }
    entries_.push_back({operation, seconds, 1});
  }

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

// Adds the time from its construction to its end; nothing where there is no profile.
class ProfileScope {
 public:
  ProfileScope(Profile* profile, std::string_view operation)
      : profile_(profile), operation_(operation) {
    if (profile_ != nullptr) start_ = Clock::now();
  }
  ~ProfileScope() {
    if (profile_ == nullptr) return;
    profile_->add(operation_, std::chrono::duration<double>(Clock::now() - start_).count());
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  Profile* profile_;
  std::string_view operation_;
  Clock::time_point start_;
};

}  // namespace fptq::model
