#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace fptq::eval {
namespace {

// Probability that a Student variable lies within -t..t: a finite sum for a whole number of
// degrees of freedom. Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3
// and 26.7.4.
double student_within(double t, std::size_t degrees_of_freedom) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees_of_freedom)));
  const double cosine = std::cos(angle);
  const bool odd = degrees_of_freedom % 2 == 1;
  double sum = 0.0;
  double term = odd ? cosine : 1.0;
  for (std::size_t power = odd ? 1 : 0; power + 2 <= degrees_of_freedom; power += 2) {
    sum += term;
    const auto next = static_cast<double>(power + 2);
    term *= cosine * cosine * (next - 1.0) / next;
  }
  const double tail = std::sin(angle) * sum;
  return odd ? 2.0 / std::numbers::pi * (angle + tail) : tail;
}

// With more degrees of freedom Student's t is within 3e-4 of the normal limit.
constexpr std::size_t kAsGoodAsNormal = 10000;

}  // namespace

void RunningMoments::add(double value) {
  ++count_;
  const double deviation = value - mean_;
  mean_ += deviation / static_cast<double>(count_);
  squared_deviations_ += deviation * (value - mean_);
}

// Chan, Golub and LeVeque's update for two sets of values.
void RunningMoments::merge(const RunningMoments& other) {
  if (other.count_ == 0) return;
  const auto before = static_cast<double>(count_);
  const auto added = static_cast<double>(other.count_);
  const double deviation = other.mean_ - mean_;
  count_ += other.count_;
  mean_ += deviation * added / (before + added);
  squared_deviations_ +=
      other.squared_deviations_ + deviation * deviation * before * added / (before + added);
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

ClusterRatio cluster_ratio(std::span<const double> sums, std::span<const double> sizes) {
  FPTQ_CHECK(sums.size() == sizes.size(), "a size for each sum");
  double sum = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sum += sums[i];
    size += sizes[i];
  }
  FPTQ_CHECK(size > 0.0, "clusters with something in them");
  ClusterRatio result{sum / size, std::nullopt, 0};
  double squares = 0.0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (sizes[i] <= 0.0) continue;
    const double residual = sums[i] - result.value * sizes[i];
    squares += residual * residual;
    ++result.clusters;
  }
  if (result.clusters < 2) return result;
  const auto m = static_cast<double>(result.clusters);
  result.standard_error = std::sqrt(m / (m - 1.0) * squares) / size;
  return result;
}

double student_t95(std::size_t degrees_of_freedom) {
  FPTQ_CHECK(degrees_of_freedom >= 1, "at least two clusters");
  constexpr double kNormal = 1.959963984540054;
  if (degrees_of_freedom > kAsGoodAsNormal) return kNormal;
  double low = kNormal;
  double high = 13.0;  // 12.71 with one degree of freedom
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2.0;
    (student_within(middle, degrees_of_freedom) < 0.95 ? low : high) = middle;
  }
  return (low + high) / 2.0;
}

double student_outside(double t, std::size_t degrees_of_freedom) {
  FPTQ_CHECK(degrees_of_freedom >= 1, "at least two clusters");
  const double size = std::abs(t);
  if (degrees_of_freedom > kAsGoodAsNormal) return 2.0 * normal_below(-size);
  return std::max(0.0, 1.0 - student_within(size, degrees_of_freedom));
}

double normal_below(double z) {
  return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

double normal_quantile(double probability) {
  FPTQ_CHECK(probability > 0.0 && probability < 1.0, "a probability between 0 and 1");
  double low = -40.0;  // Phi is 0 in double precision below -38.6
  double high = 40.0;
  while (high - low > 1e-13) {
    const double middle = (low + high) / 2.0;
    (normal_below(middle) < probability ? low : high) = middle;
  }
  return (low + high) / 2.0;
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
