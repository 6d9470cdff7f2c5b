#include "algo/channel_statistics.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <string>

#include "base/check.h"

namespace fptq::algo {
namespace {

// Channels that one thread takes at a time: a row of them is four cache lines.
constexpr std::size_t kBlock = 64;

// A bin's number before clamping. Subnormal values have the exponent field 0, below all bins.
int raw_bin(std::uint32_t magnitude_bits) {
  return static_cast<int>(magnitude_bits >> 23) - 127 - MagnitudeHistogram::kFirstExponent;
}

}  // namespace

std::uint64_t MagnitudeHistogram::total() const {
  std::uint64_t sum = zeros;
  for (const std::uint64_t count : counts) sum += count;
  return sum;
}

ChannelStatistics::ChannelStatistics(std::size_t channels)
    : absmax_(channels),
      min_(channels),
      max_(channels),
      abs_sums_(channels),
      squares_(channels),
      histograms_((channels + kBlock - 1) / kBlock) {
  FPTQ_CHECK(channels > 0, "statistics of at least one channel");
}

// Returns whether all values of the block's channels are finite.
bool ChannelStatistics::add_block(const float* values, std::size_t rows, std::size_t block) {
  const std::size_t begin = block * kBlock;
  const std::size_t count = std::min(kBlock, channels() - begin);
  float* const min = min_.data() + begin;
  float* const max = max_.data() + begin;
  double* const abs_sums = abs_sums_.data() + begin;
  double* const squares = squares_.data() + begin;
  MagnitudeHistogram& histogram = histograms_[block];
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const x = values + row * channels() + begin;
    if (rows_ + row == 0) {
      std::copy_n(x, count, min);
      std::copy_n(x, count, max);
    }
    for (std::size_t k = 0; k < count; ++k) {
      min[k] = x[k] < min[k] ? x[k] : min[k];
      max[k] = x[k] > max[k] ? x[k] : max[k];
      const auto value = static_cast<double>(x[k]);
      abs_sums[k] += std::abs(value);
      squares[k] += value * value;
    }
    for (std::size_t k = 0; k < count; ++k) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[k]) & 0x7fffffffu;
      const int last = static_cast<int>(MagnitudeHistogram::kBins) - 1;
      const auto bin = static_cast<std::size_t>(std::clamp(raw_bin(bits), 0, last));
      const std::uint64_t zero = bits == 0 ? 1 : 0;
      histogram.zeros += zero;
      histogram.counts[bin] += 1 - zero;
    }
  }
  bool finite = true;
  for (std::size_t k = 0; k < count; ++k) {
    absmax_[begin + k] = std::max(-min[k], max[k]);
    // Sums of |x| of 2^127 at most cannot overflow a double: one is infinite or NaN only where a
    // value is.
    finite = finite && std::isfinite(abs_sums[k]);
  }
  return finite;
}

Status ChannelStatistics::add(const float* values, std::size_t rows) {
  ThreadPool alone(1);
  return add(values, rows, alone);
}

Status ChannelStatistics::add(const float* values, std::size_t rows, ThreadPool& pool) {
  if (rows == 0) return {};
  std::atomic<bool> finite{true};
  pool.parallel_for(histograms_.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t block = begin; block < end; ++block) {
      if (!add_block(values, rows, block)) finite.store(false, std::memory_order_relaxed);
    }
  });
  if (!finite.load()) {
    for (std::size_t k = 0; k < channels(); ++k) {
      for (std::size_t row = 0; row < rows; ++row) {
        const float value = values[row * channels() + k];
        if (std::isfinite(value)) continue;
        return Error{Error::Kind::kFormat, "channel " + std::to_string(k) +
                                               ": expected finite activations, got " +
                                               (std::isnan(value) ? "nan"
                                                : value < 0       ? "-inf"
                                                                  : "inf") +
                                               " in row " + std::to_string(rows_ + row)};
      }
    }
  }
  rows_ += rows;
  return {};
}

void ChannelStatistics::merge(const ChannelStatistics& other) {
  FPTQ_CHECK(channels() == other.channels(), "statistics of the same channels");
  if (other.rows_ == 0) return;
  for (std::size_t k = 0; k < channels(); ++k) {
    min_[k] = rows_ == 0 ? other.min_[k] : std::min(min_[k], other.min_[k]);
    max_[k] = rows_ == 0 ? other.max_[k] : std::max(max_[k], other.max_[k]);
    absmax_[k] = std::max(absmax_[k], other.absmax_[k]);
    abs_sums_[k] += other.abs_sums_[k];
    squares_[k] += other.squares_[k];
  }
  for (std::size_t block = 0; block < histograms_.size(); ++block) {
    histograms_[block].zeros += other.histograms_[block].zeros;
    for (std::size_t bin = 0; bin < MagnitudeHistogram::kBins; ++bin) {
      histograms_[block].counts[bin] += other.histograms_[block].counts[bin];
    }
  }
  rows_ += other.rows_;
}

std::vector<float> ChannelStatistics::mean_abs() const {
  std::vector<float> means(channels());
  if (rows_ == 0) return means;
  for (std::size_t k = 0; k < channels(); ++k) {
    means[k] = static_cast<float>(abs_sums_[k] / static_cast<double>(rows_));
  }
  return means;
}

float ChannelStatistics::tensor_absmax() const {
  return *std::max_element(absmax_.begin(), absmax_.end());
}
float ChannelStatistics::tensor_min() const {
  return *std::min_element(min_.begin(), min_.end());
}
float ChannelStatistics::tensor_max() const {
  return *std::max_element(max_.begin(), max_.end());
}

MagnitudeHistogram ChannelStatistics::histogram() const {
  MagnitudeHistogram sum;
  for (const MagnitudeHistogram& part : histograms_) {
    sum.zeros += part.zeros;
    for (std::size_t bin = 0; bin < MagnitudeHistogram::kBins; ++bin) {
      sum.counts[bin] += part.counts[bin];
    }
  }
  return sum;
}

}  // namespace fptq::algo
