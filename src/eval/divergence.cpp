#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace fptq::eval {
namespace {

constexpr int kBinsPerDecade = 4;
constexpr double kFirstExponent = -6.0;
constexpr std::array<double, DivergenceCollector::kConfidenceBins + 1> kConfidenceEdges = {
    0.0, 0.25, 0.5, 0.75, 0.9, 1.0};
constexpr std::array<double, 3> kQuantiles = {0.5, 0.9, 0.99};
constexpr std::size_t kResamples = 1000;
constexpr std::uint64_t kSeed = 0;

std::size_t confidence_bin_of(double probability) {
  std::size_t bin = 0;
  while (bin + 1 < DivergenceCollector::kConfidenceBins &&
         probability >= kConfidenceEdges[bin + 1]) {
    ++bin;
  }
  return bin;
}

// Values in ascending order, each with the window that it comes from.
struct Sorted {
  std::vector<double> values;
  std::vector<std::uint32_t> windows;
};

Sorted sort_values(const std::vector<double>& values, const std::vector<std::uint32_t>& windows) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  Sorted sorted;
  for (const std::size_t i : order) {
    sorted.values.push_back(values[i]);
    sorted.windows.push_back(windows[i]);
  }
  return sorted;
}

// quantile() of the values repeated as often as `repeats` says for their window. total: how many
// that are, at least 1.
std::array<double, 3> repeated_quantiles(const Sorted& sorted,
                                         const std::vector<std::size_t>& repeats,
                                         std::size_t total) {
  std::array<double, 3> result{};
  std::size_t q = 0;
  std::size_t rank = 0;  // of the value that comes next, in the repeated set
  bool waits_for_upper = false;
  double lower = 0.0;
  const auto position = [&] { return kQuantiles[q] * static_cast<double>(total - 1); };
  for (std::size_t i = 0; i < sorted.values.size() && q < kQuantiles.size(); ++i) {
    const std::size_t count = repeats[sorted.windows[i]];
    if (count == 0) continue;
    const double value = sorted.values[i];
    const std::size_t end = rank + count;
    while (q < kQuantiles.size()) {
      const auto below = static_cast<std::size_t>(position());
      if (!waits_for_upper) {
        if (below >= end) break;
        lower = value;
      }
      if (below + 1 >= end && below + 1 < total) {
        waits_for_upper = true;
        break;
      }
      const double share = position() - static_cast<double>(below);
      result[q++] = share == 0.0 ? lower : lower + share * (value - lower);
      waits_for_upper = false;
    }
    rank = end;
  }
  return result;
}

std::optional<double> half_over(const std::optional<double>& error, double root) {
  if (!error) return std::nullopt;
  return root == 0.0 ? 0.0 : *error / (2.0 * root);
}

}  // namespace

double DivergenceHistogram::edge(std::size_t b) {
  return std::pow(10.0, kFirstExponent + static_cast<double>(b) / kBinsPerDecade);
}

void DivergenceHistogram::add(double nats) {
  if (nats < edge(0)) {
    ++below_;
  } else if (nats >= edge(kBins)) {
    ++above_;
  } else {
    const double exponent = (std::log10(nats) - kFirstExponent) * kBinsPerDecade;
    auto bin = static_cast<std::size_t>(std::clamp(exponent, 0.0, kBins - 1.0));
    // A logarithm that was rounded may lead one bin aside.
    if (nats < edge(bin)) --bin;
    if (nats >= edge(bin + 1)) ++bin;
    ++counts_[bin];
  }
}

void DivergenceCollector::begin_window() {
  windows_.emplace_back();
}

void DivergenceCollector::add(const TokenDivergence& position) {
  FPTQ_CHECK(!windows_.empty(), "a window that the position belongs to");
  values_.push_back(position.kl);
  window_of_.push_back(static_cast<std::uint32_t>(windows_.size() - 1));
  histogram_.add(position.kl);
  WindowSums& window = windows_.back();
  const double same = position.same_top ? 1.0 : 0.0;
  window.tokens += 1.0;
  window.kl += position.kl;
  window.same_top += same;
  window.squared_delta_p += position.delta_p * position.delta_p;
  BinSums& bin = window.bins[confidence_bin_of(position.base_top_p)];
  bin.tokens += 1.0;
  bin.same_top += same;
  bin.kl += position.kl;
}

ClusterRatio DivergenceCollector::ratio(double WindowSums::*sum) const {
  std::vector<double> sums;
  std::vector<double> sizes;
  for (const WindowSums& window : windows_) {
    sums.push_back(window.*sum);
    sizes.push_back(window.tokens);
  }
  return cluster_ratio(sums, sizes);
}

ConfidenceBin DivergenceCollector::confidence_bin(std::size_t bin) const {
  ConfidenceBin result;
  result.from = kConfidenceEdges[bin];
  result.to = kConfidenceEdges[bin + 1];
  std::vector<double> sums;
  std::vector<double> sizes;
  BinSums total;
  for (const WindowSums& window : windows_) {
    sums.push_back(window.bins[bin].same_top);
    sizes.push_back(window.bins[bin].tokens);
    total.tokens += window.bins[bin].tokens;
    total.same_top += window.bins[bin].same_top;
    total.kl += window.bins[bin].kl;
  }
  if (total.tokens == 0.0) return result;
  const ClusterRatio agreement = cluster_ratio(sums, sizes);
  result.tokens = static_cast<std::size_t>(total.tokens);
  result.flips = static_cast<std::size_t>(total.tokens - total.same_top);
  result.agreement = agreement.value;
  result.mean_kl = total.kl / total.tokens;
  result.standard_error = agreement.standard_error;
  return result;
}

void DivergenceCollector::add_quantiles(KlDivergence& result) const {
  const Sorted sorted = sort_values(values_, window_of_);
  result.median = quantile(sorted.values, kQuantiles[0]);
  result.p90 = quantile(sorted.values, kQuantiles[1]);
  result.p99 = quantile(sorted.values, kQuantiles[2]);
  result.max = sorted.values.back();
  const std::size_t windows = windows_.size();
  if (windows < 2) return;
  Rng rng(kSeed);
  std::array<RunningMoments, 3> moments;
  std::vector<std::size_t> repeats(windows);
  for (std::size_t resample = 0; resample < kResamples; ++resample) {
    std::fill(repeats.begin(), repeats.end(), std::size_t{0});
    std::size_t total = 0;
    for (std::size_t i = 0; i < windows; ++i) {
      const auto drawn = static_cast<std::size_t>(rng.below(windows));
      ++repeats[drawn];
      total += result.window_tokens[drawn];
    }
    const std::array<double, 3> drawn = repeated_quantiles(sorted, repeats, total);
    for (std::size_t q = 0; q < drawn.size(); ++q) moments[q].add(drawn[q]);
  }
  result.standard_errors.median = std::sqrt(moments[0].variance());
  result.standard_errors.p90 = std::sqrt(moments[1].variance());
  result.standard_errors.p99 = std::sqrt(moments[2].variance());
}

KlDivergence DivergenceCollector::finish() const {
  FPTQ_CHECK(!values_.empty(), "a position to compare");
  KlDivergence result;
  double same_top = 0.0;
  for (const WindowSums& window : windows_) {
    result.window_kl.push_back(window.kl / window.tokens);
    result.window_tokens.push_back(static_cast<std::size_t>(window.tokens));
    same_top += window.same_top;
  }
  result.tokens = values_.size();
  result.flips = result.tokens - static_cast<std::size_t>(same_top);
  const ClusterRatio mean = ratio(&WindowSums::kl);
  const ClusterRatio agreement = ratio(&WindowSums::same_top);
  const ClusterRatio squared = ratio(&WindowSums::squared_delta_p);
  result.mean = mean.value;
  result.top1_agreement = agreement.value;
  result.rms_delta_p = std::sqrt(squared.value);
  result.standard_errors.mean = mean.standard_error;
  result.standard_errors.top1_agreement = agreement.standard_error;
  result.standard_errors.rms_delta_p = half_over(squared.standard_error, result.rms_delta_p);
  if (mean.standard_error) {
    const double reach = student_t95(mean.clusters - 1) * *mean.standard_error;
    result.interval = Interval{result.mean - reach, result.mean + reach};
  }
  for (std::size_t bin = 0; bin < kConfidenceBins; ++bin) {
    result.by_confidence.push_back(confidence_bin(bin));
  }
  result.histogram = histogram_;
  add_quantiles(result);
  return result;
}

}  // namespace fptq::eval
