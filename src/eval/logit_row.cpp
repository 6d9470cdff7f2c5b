#include "eval/logit_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace fptq::eval {
namespace {

// Logits between two looks at what was found: they and their exponentials stay in the first-level
// cache.
constexpr std::size_t kChunk = 1024;

// Independent maxima and sums, so that they become vectors.
constexpr std::size_t kLanes = 16;

float largest_of(std::span<const float> logits) {
  std::array<float, kLanes> lanes;  // NOLINT: filled below
  lanes.fill(-std::numeric_limits<float>::infinity());
  const std::size_t whole = logits.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      lanes[l] = logits[i + l] > lanes[l] ? logits[i + l] : lanes[l];
    }
  }
  for (std::size_t i = whole; i < logits.size(); ++i) {
    lanes[0] = logits[i] > lanes[0] ? logits[i] : lanes[0];
  }
  return *std::max_element(lanes.begin(), lanes.end());
}

// The first index of the highest logit; 0 where none is above -infinity.
std::size_t first_highest(std::span<const float> logits) {
  float highest = -std::numeric_limits<float>::infinity();
  std::size_t chunk = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += kChunk) {
    const float largest =
        largest_of(logits.subspan(begin, std::min(kChunk, logits.size() - begin)));
    if (largest > highest) {
      highest = largest;
      chunk = begin;
    }
  }
  const auto from = logits.begin() + static_cast<std::ptrdiff_t>(chunk);
  const auto found = std::find(from, logits.end(), highest);
  return found == logits.end() ? 0 : static_cast<std::size_t>(found - logits.begin());
}

}  // namespace

LogitRow look_at_row(std::span<const float> logits, const ops::Exp& exp) {
  const std::size_t top = first_highest(logits);
  const float highest = logits[top];
  std::array<double, kLanes> sums{};
  std::array<float, kChunk> terms;  // NOLINT: filled below
  for (std::size_t begin = 0; begin < logits.size(); begin += kChunk) {
    const std::size_t count = std::min(kChunk, logits.size() - begin);
    // With an infinite maximum a difference is NaN, and so is the norm.
    for (std::size_t i = 0; i < count; ++i) terms[i] = logits[begin + i] - highest;
    exp.forward(terms.data(), count, terms.data());
    std::fill(terms.begin() + static_cast<std::ptrdiff_t>(count), terms.end(), 0.0f);
    for (std::size_t i = 0; i < kChunk; i += kLanes) {
      for (std::size_t l = 0; l < kLanes; ++l) sums[l] += static_cast<double>(terms[i + l]);
    }
  }
  double sum = 0.0;
  for (const double lane : sums) sum += lane;
  return {static_cast<double>(highest) + std::log(sum), static_cast<text::TokenId>(top)};
}

double negative_log_likelihood(std::span<const float> logits, text::TokenId target,
                               const ops::Exp& exp) {
  return look_at_row(logits, exp).norm -
         static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

}  // namespace fptq::eval
