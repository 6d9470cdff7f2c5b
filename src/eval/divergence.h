// How far a model's predictions are from those of another: statistics over positions and windows.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "eval/softmax.h"
#include "eval/statistics.h"

namespace fptq::eval {

// Counts of KL divergences between logarithmic edges that are the same for every model: four bins
// a decade from 1e-6 to 1e2 nats.
class DivergenceHistogram {
 public:
  static constexpr std::size_t kBins = 32;

  // nats: finite or infinite, not NaN.
  void add(double nats);

  // Bin b holds values from edge(b) to below edge(b + 1): 10^(-6 + b / 4).
  [[nodiscard]] static double edge(std::size_t b);
  [[nodiscard]] std::span<const std::size_t> counts() const { return counts_; }
  [[nodiscard]] std::size_t below() const { return below_; }  // of values under the first edge
  [[nodiscard]] std::size_t above() const { return above_; }  // of the last edge and over

 private:
  std::array<std::size_t, kBins> counts_{};
  std::size_t below_ = 0;
  std::size_t above_ = 0;
};

// Positions at which the base gave its most probable token a probability in [from, to), the last
// bin with 1 itself.
struct ConfidenceBin {
  double from = 0.0;
  double to = 0.0;
  std::size_t tokens = 0;
  std::size_t flips = 0;  // the candidate's most probable token is another
  // Absent without a position.
  std::optional<double> agreement;  // 1 - flips / tokens
  std::optional<double> mean_kl;    // nats
  // Of the agreement, cluster_ratio() over windows; absent below two windows with a position.
  std::optional<double> standard_error;
};

// Standard errors over windows: cluster_ratio()'s for means, for the root mean square to first
// order, and for quantiles the standard deviation of 1000 resamples of whole windows (bootstrap
// with a fixed seed). All absent below two windows. The maximum has none: a resample never exceeds
// it.
struct DivergenceErrors {
  std::optional<double> mean;
  std::optional<double> median;
  std::optional<double> p90;
  std::optional<double> p99;
  std::optional<double> top1_agreement;
  std::optional<double> rms_delta_p;
};

// KL(base || candidate) of the next token, in nats, over all positions compared.
struct KlDivergence {
  double mean = 0.0;
  double median = 0.0;
  double p90 = 0.0;  // quantiles, linear between neighbours
  double p99 = 0.0;
  double max = 0.0;
  double top1_agreement = 0.0;  // share of positions with the same most probable token
  // sqrt(mean((q - p)^2)), p and q what base and candidate give to the token that follows.
  double rms_delta_p = 0.0;
  DivergenceErrors standard_errors;
  std::optional<Interval> interval;  // of the mean: -+ student_t95(windows - 1) standard errors
  std::size_t flips = 0;             // positions with another most probable token
  std::vector<ConfidenceBin> by_confidence;
  DivergenceHistogram histogram;
  std::vector<double> window_kl;           // mean of each window
  std::vector<std::size_t> window_tokens;  // positions of each window
  std::size_t tokens = 0;                  // positions compared
  std::size_t context = 0;                 // tokens in a window
};

// Collects positions, window by window. Keeps 12 bytes for each, which quantiles need.
class DivergenceCollector {
 public:
  // Positions added from now on belong to another window.
  void begin_window();
  // After begin_window(); nothing NaN.
  void add(const TokenDivergence& position);

  // At least one position has been added, and one to each window. `context` is left 0.
  [[nodiscard]] KlDivergence finish() const;

  static constexpr std::size_t kConfidenceBins = 5;

 private:
  struct BinSums {
    double tokens = 0.0;
    double same_top = 0.0;
    double kl = 0.0;
  };
  struct WindowSums {
    double tokens = 0.0;
    double kl = 0.0;
    double same_top = 0.0;
    double squared_delta_p = 0.0;
    std::array<BinSums, kConfidenceBins> bins{};
  };

  [[nodiscard]] ClusterRatio ratio(double WindowSums::*sum) const;
  [[nodiscard]] ConfidenceBin confidence_bin(std::size_t bin) const;
  void add_quantiles(KlDivergence& result) const;

  std::vector<WindowSums> windows_;
  std::vector<double> values_;
  std::vector<std::uint32_t> window_of_;  // of each value
  DivergenceHistogram histogram_;
};

}  // namespace fptq::eval
