// A confidence interval and a p for a ratio of sums, by resampling its clusters.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "eval/statistics.h"

namespace fptq::eval {

struct BootstrapOptions {
  std::size_t resamples = 10000;  // at least 100
  std::uint64_t seed = 1;
};

struct BootstrapRatio {
  double value;       // r = sum(sums) / sum(sizes)
  Interval interval;  // 95 %
  double p;           // two-sided, of r = 0
};

// How far chance moves r = sum(sums) / sum(sizes): r of `resamples` draws of m clusters with
// replacement. With sums of differences (the candidate's nats less the baseline's of each window)
// and sizes of what they are of (its tokens), r is the difference of two means over the same
// tokens.
//
//   sums, sizes  of m >= 2 clusters; finite, sizes above 0
//
// The interval is from quantiles of the resampled r, corrected for bias and acceleration (BCa), and
// widened for few clusters: quantiles of the normal distribution give way to sqrt(m / (m - 1))
// times those of Student's t with m - 1 degrees of freedom. p is 1 less the level of the interval
// that just reaches 0, so that p <= 0.05 where the 95 % interval leaves 0 out. No p is below what
// the resamples can tell: a tail without any counts as half a resample. The same on every run.
//
// Sources: Efron, JASA 82 (1987) 171-185 (BCa); Hesterberg, The American Statistician 69 (2015)
// 371-386 (expanded quantiles); Davison and Hinkley, Bootstrap Methods (1997), 2.2 (ratios).
[[nodiscard]] BootstrapRatio bootstrap_ratio(std::span<const double> sums,
                                             std::span<const double> sizes,
                                             const BootstrapOptions& options = {});

}  // namespace fptq::eval
