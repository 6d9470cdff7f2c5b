// Means, standard errors, confidence intervals and quantiles.

#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace fptq::eval {

// Mean and variance of values that arrive one by one (Welford's recurrence: no cancellation).
class RunningMoments {
 public:
  RunningMoments() = default;
  // As if `count` values with that mean and sum of squared_deviations() had been added.
  RunningMoments(std::size_t count, double mean, double squared_deviations)
      : count_(count), mean_(mean), squared_deviations_(squared_deviations) {}

  void add(double value);
  // As if every value of `other` had been added.
  void merge(const RunningMoments& other);

  [[nodiscard]] std::size_t count() const { return count_; }
  // NaN where nothing was added.
  [[nodiscard]] double mean() const;
  // Sum of (value - mean)^2.
  [[nodiscard]] double squared_deviations() const { return squared_deviations_; }
  // Sample variance, divided by count - 1. NaN below two values.
  [[nodiscard]] double variance() const;
  // sqrt(variance / count): of the mean, for independent values. NaN below two values.
  [[nodiscard]] double standard_error() const;

 private:
  std::size_t count_ = 0;
  double mean_ = 0.0;
  double squared_deviations_ = 0.0;
};

// A ratio of sums over clusters, and how far chance moves it.
struct ClusterRatio {
  double value;  // r = sum(sums) / sum(sizes)
  // sqrt(m / (m - 1) * sum_i (sums[i] - r * sizes[i])^2) / sum(sizes), over the m clusters of a
  // size above 0. Absent below two of them.
  std::optional<double> standard_error;
  std::size_t clusters;  // m
};

// The mean of values that come in clusters (the tokens of a window): neighbours in a cluster may
// depend on each other, clusters are taken as independent. With clusters of one value it is
// RunningMoments::standard_error().
//
//   sums, sizes  of each cluster; as many of both, the sum of sizes above 0
//
// Source: the delta method for a ratio estimator; Cochran, Sampling Techniques (1977), 6.13.
[[nodiscard]] ClusterRatio cluster_ratio(std::span<const double> sums,
                                         std::span<const double> sizes);

// The t for which a Student variable of that many degrees of freedom (at least 1) lies within
// -t..t with a probability of 0.95: half the width of a confidence interval in standard errors.
[[nodiscard]] double student_t95(std::size_t degrees_of_freedom);

// The probability that such a variable lies outside -|t|..|t|: the two-sided p of a t test.
[[nodiscard]] double student_outside(double t, std::size_t degrees_of_freedom);

// Phi(z), the probability that a normal variable of mean 0 and variance 1 lies below z.
[[nodiscard]] double normal_below(double z);
// The z with normal_below(z) = probability, which lies in (0, 1).
[[nodiscard]] double normal_quantile(double probability);

struct Interval {
  double low;
  double high;
};

// The value below which a share `q` of the values lies, linear between neighbours: what NumPy's
// quantile() gives by default.
//
//   sorted  ascending, at least one value
//   q       in [0, 1]
[[nodiscard]] double quantile(std::span<const double> sorted, double q);

}  // namespace fptq::eval
