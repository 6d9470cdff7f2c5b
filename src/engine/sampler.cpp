#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "base/check.h"

namespace fptq::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Logits that are looked at together: one comparison tells whether any of them matters.
constexpr std::size_t kBlock = 64;

// The weight of the most probable token.
constexpr double kUnitWeight = 0x1p39;

Error out_of_range(const char* option, const char* expected, double got) {
  return Error{Error::Kind::kInvalidArgument,
               std::string(option) + ": expected " + expected + ", got " + std::to_string(got)};
}

// More probable first; of equals the lower id.
constexpr auto kMoreProbable = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

struct BlockScan {
  float largest;  // means nothing where there is a NaN
  bool has_nan;
};

// The larger one; the second where the first is NaN.
float larger(float a, float b) {
  return a > b ? a : b;
}

// Written in independent lanes, because a compiler does not reorder the maximum of floats, and so
// finds nothing for its vectors otherwise.
BlockScan scan_block(const float* x) {
  int nan_count = 0;
  for (std::size_t i = 0; i < kBlock; ++i) nan_count += x[i] != x[i] ? 1 : 0;
  std::array<float, 16> of_16;
  for (std::size_t lane = 0; lane < 16; ++lane) of_16[lane] = x[lane];
  for (std::size_t i = 16; i < kBlock; i += 16) {
    for (std::size_t lane = 0; lane < 16; ++lane) {
      of_16[lane] = larger(x[i + lane], of_16[lane]);
    }
  }
  std::array<float, 8> of_8;
  for (std::size_t lane = 0; lane < 8; ++lane) of_8[lane] = larger(of_16[lane], of_16[lane + 8]);
  std::array<float, 4> of_4;
  for (std::size_t lane = 0; lane < 4; ++lane) of_4[lane] = larger(of_8[lane], of_8[lane + 4]);
  return {larger(larger(of_4[0], of_4[1]), larger(of_4[2], of_4[3])), nan_count != 0};
}

Error nan_error(std::span<const float> logits) {
  std::size_t id = 0;
  while (!std::isnan(logits[id])) ++id;
  return Error{Error::Kind::kFormat, "logits: token " + std::to_string(id) +
                                         ": expected a number, got nan. Are weights damaged? "
                                         "`fptq inspect` looks for NaN and infinity"};
}

Error no_token_error() {
  return Error{Error::Kind::kFormat, "logits: expected a token with a probability, got none"};
}

}  // namespace

Status check_sampling_options(const SamplingOptions& options) {
  // Below, dividing by the temperature could overflow.
  constexpr double kSmallestTemperature = 1e-6;
  const double temperature = options.temperature;
  if (!(temperature == 0.0 || (temperature >= kSmallestTemperature && temperature <= 1e6))) {
    return out_of_range("--temperature", "0 or a number from 0.000001 to 1000000", temperature);
  }
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) {
    return out_of_range("--top-p", "a number above 0, at most 1", options.top_p);
  }
  if (!(options.min_p >= 0.0 && options.min_p <= 1.0)) {
    return out_of_range("--min-p", "a number from 0 to 1", options.min_p);
  }
  if (!(options.repetition_penalty > 0.0 && options.repetition_penalty <= 1e6)) {
    return out_of_range("--repetition-penalty", "a number above 0, at most 1000000",
                        options.repetition_penalty);
  }
  return {};
}

Result<std::int32_t> greedy_token(std::span<const float> logits) {
  FPTQ_CHECK(!logits.empty(), "a vocabulary has tokens");
  float best = -kInfinity;
  std::size_t best_block = 0;
  bool has_nan = false;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    BlockScan scan{};
    if (logits.size() - begin >= kBlock) {
      scan = scan_block(&logits[begin]);
    } else {
      std::array<float, kBlock> padded;
      padded.fill(-kInfinity);
      std::copy(logits.begin() + static_cast<std::ptrdiff_t>(begin), logits.end(), padded.begin());
      scan = scan_block(padded.data());
    }
    has_nan |= scan.has_nan;
    if (scan.largest > best) {
      best = scan.largest;
      best_block = begin;
    }
  }
  if (has_nan) return nan_error(logits);
  if (best == -kInfinity) return no_token_error();
  std::size_t id = best_block;
  while (logits[id] != best) ++id;
  return static_cast<std::int32_t>(id);
}

// Divides by the temperature (at 0 by 1), the repeated tokens after their penalty.
void Sampler::scale(std::span<const float> logits, std::span<const std::int32_t> history) {
  const float temperature =
      options_.temperature > 0.0 ? static_cast<float>(options_.temperature) : 1.0f;
  logits_.resize((logits.size() + kBlock - 1) / kBlock * kBlock, -kInfinity);
  std::fill(logits_.begin() + static_cast<std::ptrdiff_t>(logits.size()), logits_.end(),
            -kInfinity);
  for (std::size_t i = 0; i < logits.size(); ++i) logits_[i] = logits[i] / temperature;
  if (options_.repetition_penalty == 1.0) return;
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  penalized_.assign(logits.size(), 0);
  for (const std::int32_t id : history) {
    FPTQ_CHECK(id >= 0 && static_cast<std::size_t>(id) < logits.size(),
               "history holds ids of the vocabulary");
    const auto index = static_cast<std::size_t>(id);
    if (penalized_[index] != 0) continue;
    penalized_[index] = 1;
    const float logit = logits[index];
    logits_[index] = (logit > 0.0f ? logit / penalty : logit * penalty) / temperature;
  }
}

// Finds the largest logit, of each block and of all. Returns whether there are only numbers.
bool Sampler::scan() {
  block_best_.resize(logits_.size() / kBlock);
  best_ = -kInfinity;
  bool has_nan = false;
  for (std::size_t block = 0; block < block_best_.size(); ++block) {
    const BlockScan scan = scan_block(&logits_[block * kBlock]);
    block_best_[block] = scan.largest;
    best_ = std::max(best_, scan.largest);
    has_nan |= scan.has_nan;
  }
  return !has_nan;
}

// weights[i] = exp(logits[i] - best) / 2^-39, rounded.
//   logits, weights  [kBlock]
void Sampler::weigh_block(const float* logits, std::uint64_t* weights) {
  std::array<float, kBlock> ratio;
  for (std::size_t i = 0; i < kBlock; ++i) ratio[i] = logits[i] - best_;
  exp_.forward(ratio.data(), kBlock, ratio.data());
  // Numbers from 2^13 up to 2^14 are multiples of 2^-39, and their bits count them.
  constexpr double kMagic = 0x1p13;
  for (std::size_t i = 0; i < kBlock; ++i) {
    weights[i] = std::bit_cast<std::uint64_t>(static_cast<double>(ratio[i]) + kMagic) -
                 std::bit_cast<std::uint64_t>(kMagic);
  }
}

// The sum of all weights, and of each block.
std::uint64_t Sampler::weigh_all() {
  block_weights_.assign(block_best_.size(), 0);
  std::array<std::uint64_t, kBlock> weights;
  std::uint64_t total = 0;
  for (std::size_t block = 0; block < block_best_.size(); ++block) {
    if (block_best_[block] - best_ < -28.0f) continue;  // e^-28 < 2^-40: all round to 0
    weigh_block(&logits_[block * kBlock], weights.data());
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : weights) sum += weight;
    block_weights_[block] = sum;
    total += sum;
  }
  return total;
}

// Makes candidates of all tokens whose logit is at least `threshold`, not weighed yet.
void Sampler::collect(float threshold) {
  candidates_.clear();
  for (std::size_t block = 0; block < block_best_.size(); ++block) {
    if (block_best_[block] < threshold) continue;
    for (std::size_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
      if (logits_[i] >= threshold && logits_[i] > -kInfinity) {
        candidates_.push_back({logits_[i], static_cast<std::int32_t>(i), 0});
      }
    }
  }
}

// Weighs the candidates and returns the sum.
std::uint64_t Sampler::weigh_candidates() {
  std::array<float, kBlock> logits;
  std::array<std::uint64_t, kBlock> weights;
  std::uint64_t total = 0;
  for (std::size_t begin = 0; begin < candidates_.size(); begin += kBlock) {
    const std::size_t count = std::min(kBlock, candidates_.size() - begin);
    logits.fill(-kInfinity);
    for (std::size_t i = 0; i < count; ++i) logits[i] = candidates_[begin + i].logit;
    weigh_block(logits.data(), weights.data());
    for (std::size_t i = 0; i < count; ++i) {
      candidates_[begin + i].weight = weights[i];
      total += weights[i];
    }
  }
  return total;
}

// Removes the candidates that are less probable than `last`.
void Sampler::keep_until(const Candidate& last) {
  std::erase_if(candidates_,
                [&](const Candidate& candidate) { return kMoreProbable(last, candidate); });
}

// Makes candidates of the k most probable tokens. As k blocks have a logit of at least the k-th
// largest of the blocks' best ones, no other token can be among them than those above it.
void Sampler::collect_top_k() {
  const std::size_t k = options_.top_k;
  float threshold = -kInfinity;
  if (k <= block_best_.size()) {
    largest_ = block_best_;
    const auto kth = largest_.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(largest_.begin(), kth, largest_.end(), std::greater<>());
    threshold = *kth;
  }
  collect(threshold);
  if (k >= candidates_.size()) return;
  selection_ = candidates_;
  const auto last = selection_.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(selection_.begin(), last, selection_.end(), kMoreProbable);
  keep_until(*last);
}

// Halves the part in which the sum of weights, the most probable first, reaches top_p.
void Sampler::keep_top_p() {
  std::uint64_t sum = 0;
  double total = 0.0;
  if (options_.top_k > 0) {
    sum = weigh_candidates();
    total = static_cast<double>(sum);
  } else {
    total = static_cast<double>(weigh_all());
    // Ever lower thresholds, until the tokens above them suffice: usually few do.
    for (float nats = 2.0f; static_cast<double>(sum) < options_.top_p * total; nats *= 2.0f) {
      collect(nats < 30.0f ? best_ - nats : -kInfinity);
      sum = weigh_candidates();
    }
  }
  auto wanted = static_cast<std::uint64_t>(std::ceil(options_.top_p * total));
  selection_ = candidates_;
  auto begin = selection_.begin();
  auto end = selection_.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, kMoreProbable);
    std::uint64_t upper = 0;
    for (auto it = begin; it != middle; ++it) upper += it->weight;
    if (upper >= wanted) {
      end = middle;
    } else {
      wanted -= upper;
      begin = middle;
    }
  }
  keep_until(*begin);
}

// The best token's weight is the unit, so it stays.
void Sampler::keep_min_p() {
  const double least = options_.min_p * kUnitWeight;
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return static_cast<double>(candidate.weight) < least;
  });
}

std::int32_t Sampler::draw_from_all() {
  std::uint64_t rest = rng_.below(weigh_all());
  std::size_t block = 0;
  for (; rest >= block_weights_[block]; ++block) rest -= block_weights_[block];
  std::array<std::uint64_t, kBlock> weights;
  weigh_block(&logits_[block * kBlock], weights.data());
  std::size_t i = 0;
  for (; rest >= weights[i]; ++i) rest -= weights[i];
  return static_cast<std::int32_t>(block * kBlock + i);
}

std::int32_t Sampler::draw_from_candidates() {
  std::uint64_t total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  std::uint64_t rest = rng_.below(total);
  std::size_t i = 0;
  for (; rest >= candidates_[i].weight; ++i) rest -= candidates_[i].weight;
  return candidates_[i].id;
}

Result<std::int32_t> Sampler::sample(std::span<const float> logits,
                                     std::span<const std::int32_t> history) {
  FPTQ_CHECK(!logits.empty(), "a vocabulary has tokens");
  const bool random = options_.temperature > 0.0;
  if (!random && options_.repetition_penalty == 1.0) return greedy_token(logits);
  scale(logits, history);
  if (!scan()) return nan_error(logits_);
  // An infinite logit leaves the others no probability.
  if (!random || std::isinf(best_)) return greedy_token(std::span(logits_).first(logits.size()));
  const bool top_p = options_.top_p < 1.0;
  const bool min_p = options_.min_p > 0.0;
  if (options_.top_k == 0 && !top_p && !min_p) return draw_from_all();
  if (options_.top_k > 0) collect_top_k();
  if (top_p) {
    keep_top_p();
  } else {
    // exp(logit - best) < min_p, with a little slack, since keep_min_p() decides.
    if (options_.top_k == 0) collect(best_ + static_cast<float>(std::log(options_.min_p)) - 0.01f);
    static_cast<void>(weigh_candidates());
  }
  if (min_p) keep_min_p();
  return draw_from_candidates();
}

}  // namespace fptq::engine
