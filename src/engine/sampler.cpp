#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/check.h"

namespace fptq::engine {
namespace {

Error out_of_range(const char* option, const char* expected, double got) {
  return Error{Error::Kind::kInvalidArgument,
               std::string(option) + ": expected " + expected + ", got " + std::to_string(got)};
}

// More probable first; of equals the lower id.
constexpr auto kMoreProbable = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

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
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) {
      return Error{Error::Kind::kFormat, "logits: token " + std::to_string(i) +
                                             ": expected a number, got nan. Are weights damaged? "
                                             "`fptq inspect` looks for NaN and infinity"};
    }
    if (logits[i] > logits[best]) best = i;
  }
  if (logits[best] == -std::numeric_limits<float>::infinity()) {
    return Error{Error::Kind::kFormat, "logits: expected a token with a probability, got none"};
  }
  return static_cast<std::int32_t>(best);
}

void Sampler::penalize(std::span<const std::int32_t> history) {
  if (options_.repetition_penalty == 1.0) return;
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  penalized_.assign(logits_.size(), 0);
  for (const std::int32_t id : history) {
    FPTQ_CHECK(id >= 0 && static_cast<std::size_t>(id) < logits_.size(),
               "history holds ids of the vocabulary");
    const auto index = static_cast<std::size_t>(id);
    if (penalized_[index] != 0) continue;
    penalized_[index] = 1;
    float& logit = logits_[index];
    logit = logit > 0.0f ? logit / penalty : logit * penalty;
  }
}

void Sampler::apply_temperature() {
  const auto temperature = static_cast<float>(options_.temperature);
  for (float& logit : logits_) logit /= temperature;
}

// Every token that can be drawn at all. Nothing is sorted yet. With min-p those that it will drop
// are left out at once where no filter before it could change what it compares with: the best
// token is always kept, so its threshold is known.
void Sampler::collect_candidates() {
  candidates_.clear();
  const float best = *std::max_element(logits_.begin(), logits_.end());
  // exp(logit - best) < min_p; a little slack, since keep_min_p() decides.
  const float threshold = options_.min_p > 0.0 && options_.top_p == 1.0
                              ? best + static_cast<float>(std::log(options_.min_p)) - 1e-3f
                              : -std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] > -std::numeric_limits<float>::infinity() && logits_[i] >= threshold) {
      candidates_.push_back({logits_[i], static_cast<std::int32_t>(i)});
    }
  }
}

void Sampler::keep_top_k() {
  if (options_.top_k == 0 || options_.top_k >= candidates_.size()) return;
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(options_.top_k);
  std::nth_element(candidates_.begin(), end, candidates_.end(), kMoreProbable);
  candidates_.erase(end, candidates_.end());
}

// Sorts ever longer beginnings of the candidates until their probability reaches top_p.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1.0) return;
  const float best = std::min_element(candidates_.begin(), candidates_.end(), kMoreProbable)->logit;
  double total = 0.0;
  for (const Candidate& candidate : candidates_) {
    total += std::exp(static_cast<double>(candidate.logit) - static_cast<double>(best));
  }
  const double wanted = options_.top_p * total;
  double reached = 0.0;
  std::size_t sorted = 0;
  for (std::size_t length = 64;; length *= 4) {
    length = std::min(length, candidates_.size());
    std::partial_sort(candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                      candidates_.begin() + static_cast<std::ptrdiff_t>(length), candidates_.end(),
                      kMoreProbable);
    for (; sorted < length; ++sorted) {
      reached +=
          std::exp(static_cast<double>(candidates_[sorted].logit) - static_cast<double>(best));
      if (reached >= wanted) {
        candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(sorted) + 1,
                          candidates_.end());
        return;
      }
    }
    if (length == candidates_.size()) return;
  }
}

void Sampler::keep_min_p() {
  if (options_.min_p <= 0.0) return;
  const auto best = *std::min_element(candidates_.begin(), candidates_.end(), kMoreProbable);
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return candidate.id != best.id && std::exp(static_cast<double>(candidate.logit) -
                                               static_cast<double>(best.logit)) < options_.min_p;
  });
}

// Draws in the order of ids, which does not depend on how the filters moved candidates.
std::int32_t Sampler::draw() {
  const auto by_id = [](const Candidate& a, const Candidate& b) { return a.id < b.id; };
  if (!std::is_sorted(candidates_.begin(), candidates_.end(), by_id)) {
    std::sort(candidates_.begin(), candidates_.end(), by_id);
  }
  float best = -std::numeric_limits<float>::infinity();
  for (const Candidate& candidate : candidates_) best = std::max(best, candidate.logit);
  double total = 0.0;
  probabilities_.clear();
  for (const Candidate& candidate : candidates_) {
    probabilities_.push_back(
        std::exp(static_cast<double>(candidate.logit) - static_cast<double>(best)));
    total += probabilities_.back();
  }
  double rest = rng_.uniform() * total;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    rest -= probabilities_[i];
    if (rest < 0.0) return candidates_[i].id;
  }
  // Rounding can leave a rest of the size of an ulp.
  return candidates_.back().id;
}

Result<std::int32_t> Sampler::sample(std::span<const float> logits,
                                     std::span<const std::int32_t> history) {
  FPTQ_TRY(const std::int32_t unpenalized, greedy_token(logits));
  const bool penalty = options_.repetition_penalty != 1.0;
  if (options_.temperature == 0.0 && !penalty) return unpenalized;
  logits_.assign(logits.begin(), logits.end());
  penalize(history);
  if (options_.temperature > 0.0) apply_temperature();
  FPTQ_TRY(const std::int32_t best, greedy_token(logits_));
  const bool certain = std::isinf(logits_[static_cast<std::size_t>(best)]);
  if (options_.temperature == 0.0 || certain) return best;
  collect_candidates();
  keep_top_k();
  keep_top_p();
  keep_min_p();
  return draw();
}

}  // namespace fptq::engine
