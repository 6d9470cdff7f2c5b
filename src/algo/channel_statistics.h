// Ranges and moments of activations, channel by channel, gathered while they stream by.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"

namespace fptq::algo {

// Counts of a tensor's elements by magnitude: bin b has those with 2^(b - 40) <= |x| < 2^(b - 39).
// The first bin also takes all smaller ones but zeros, the last one all larger ones.
struct MagnitudeHistogram {
  static constexpr std::size_t kBins = 64;
  static constexpr int kFirstExponent = -40;  // log2 of the lower end of bin 0

  std::array<std::uint64_t, kBins> counts{};
  std::uint64_t zeros = 0;

  [[nodiscard]] std::uint64_t total() const;
  bool operator==(const MagnitudeHistogram&) const = default;
};

// Statistics of X [T, K], T growing with every add(). Sums are in double, channel by channel in the
// order of the rows: the same calls give the same bits for any number of threads, and however the
// rows are split over calls.
//
// Thread safety: none.
class ChannelStatistics {
 public:
  // channels: K >= 1.
  explicit ChannelStatistics(std::size_t channels);

  // Takes in more rows.
  //   values  [rows, K]
  // Errors: kFormat names the first channel with a NaN or infinite value, and its row; the
  // statistics have no meaning afterwards.
  [[nodiscard]] Status add(const float* values, std::size_t rows, ThreadPool& pool);
  // The same on the caller's thread.
  [[nodiscard]] Status add(const float* values, std::size_t rows);

  // Takes in what another one of the same K has seen, as if its rows came after these ones'. The
  // last bits of sums depend on the order of merging, so callers keep to one.
  void merge(const ChannelStatistics& other);

  [[nodiscard]] std::size_t channels() const { return absmax_.size(); }
  [[nodiscard]] std::uint64_t rows() const { return rows_; }  // T

  // Per channel [K]; 0 where rows() is 0.
  [[nodiscard]] std::span<const float> absmax() const { return absmax_; }         // max_t |x|
  [[nodiscard]] std::span<const float> min() const { return min_; }               // min_t x
  [[nodiscard]] std::span<const float> max() const { return max_; }               // max_t x
  [[nodiscard]] std::span<const double> sum_squares() const { return squares_; }  // sum_t x^2
  [[nodiscard]] std::vector<float> mean_abs() const;                              // sum_t |x| / T

  // Of the whole tensor; 0 where rows() is 0.
  [[nodiscard]] float tensor_absmax() const;
  [[nodiscard]] float tensor_min() const;
  [[nodiscard]] float tensor_max() const;
  [[nodiscard]] MagnitudeHistogram histogram() const;

 private:
  [[nodiscard]] bool add_block(const float* values, std::size_t rows, std::size_t block);

  std::uint64_t rows_ = 0;
  std::vector<float> absmax_;
  std::vector<float> min_;
  std::vector<float> max_;
  std::vector<double> abs_sums_;
  std::vector<double> squares_;
  std::vector<MagnitudeHistogram> histograms_;  // one per block of channels
};

}  // namespace fptq::algo
