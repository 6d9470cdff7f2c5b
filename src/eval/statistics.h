// Means, standard errors and quantiles.

#pragma once

#include <cstddef>
#include <span>

namespace fptq::eval {

// Mean and variance of values that arrive one by one (Welford's recurrence: no cancellation).
class RunningMoments {
 public:
  void add(double value);

  [[nodiscard]] std::size_t count() const { return count_; }
  // NaN where nothing was added.
  [[nodiscard]] double mean() const;
  // Sample variance, divided by count - 1. NaN below two values.
  [[nodiscard]] double variance() const;
  // sqrt(variance / count): of the mean, for independent values. NaN below two values.
  [[nodiscard]] double standard_error() const;

 private:
  std::size_t count_ = 0;
  double mean_ = 0.0;
  double squared_deviations_ = 0.0;
};

// The value below which a share `q` of the values lies, linear between neighbours: what NumPy's
// quantile() gives by default.
//
//   sorted  ascending, at least one value
//   q       in [0, 1]
[[nodiscard]] double quantile(std::span<const double> sorted, double q);

}  // namespace fptq::eval
