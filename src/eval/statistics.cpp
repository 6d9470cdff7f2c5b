#include "eval/statistics.h"

#include <cmath>
#include <limits>

#include "base/check.h"

namespace fptq::eval {

void RunningMoments::add(double value) {
  ++count_;
  const double deviation = value - mean_;
  mean_ += deviation / static_cast<double>(count_);
  squared_deviations_ += deviation * (value - mean_);
}

double RunningMoments::mean() const {
  return count_ == 0 ? std::numeric_limits<double>::quiet_NaN() : mean_;
}

double RunningMoments::variance() const {
  if (count_ < 2) return std::numeric_limits<double>::quiet_NaN();
  return squared_deviations_ / static_cast<double>(count_ - 1);
}

double RunningMoments::standard_error() const {
  return std::sqrt(variance() / static_cast<double>(count_));
}

double quantile(std::span<const double> sorted, double q) {
  FPTQ_CHECK(!sorted.empty() && q >= 0.0 && q <= 1.0, "a share of at least one value");
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  if (below + 1 >= sorted.size()) return sorted.back();
  const double share = position - static_cast<double>(below);
  // Without this an infinite neighbour with no share in the result would make it NaN.
  if (share == 0.0) return sorted[below];
  return sorted[below] + share * (sorted[below + 1] - sorted[below]);
}

}  // namespace fptq::eval
