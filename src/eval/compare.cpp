#include "eval/compare.h"

#include <nlohmann/json.hpp>

namespace fptq::eval {
namespace {

// numerator / denominator where both were measured.
template <typename T>
std::optional<double> ratio(const std::optional<T>& numerator,
                            const std::optional<T>& denominator) {
  if (!numerator || !denominator || *denominator == T{}) return std::nullopt;
  return static_cast<double>(*numerator) / static_cast<double>(*denominator);
}

std::optional<double> perplexity_change(const EvalResult& baseline, const EvalResult& candidate,
                                        std::size_t index) {
  if (index >= baseline.perplexities.size() || index >= candidate.perplexities.size()) {
    return std::nullopt;
  }
  const Perplexity& before = baseline.perplexities[index];
  const Perplexity& after = candidate.perplexities[index];
  if (before.protocol != after.protocol || before.context != after.context ||
      before.documents != after.documents || before.tokens != after.tokens) {
    return std::nullopt;
  }
  return 100.0 * (after.value / before.value - 1.0);
}

}  // namespace

Change change_from(const EvalResult& baseline, const EvalResult& candidate,
                   std::size_t perplexity_index) {
  const Resources& before = baseline.resources;
  const Resources& after = candidate.resources;
  return {perplexity_change(baseline, candidate, perplexity_index),
          ratio(before.disk_bytes, after.disk_bytes),
          ratio(before.weights_bytes, after.weights_bytes),
          ratio(after.prefill_tok_s, before.prefill_tok_s),
          ratio(after.decode_tok_s, before.decode_tok_s)};
}

Json to_json(const Comparison& comparison) {
  Json candidates = Json::array();
  for (std::size_t i = 0; i < comparison.candidates.size(); ++i) {
    candidates.push_back(to_json(comparison.candidates[i]));
    Json paired = Json::array();
    if (i < comparison.verdicts.size()) {
      for (const Verdict& verdict : comparison.verdicts[i]) paired.push_back(to_json(verdict));
    }
    candidates.back()["paired"] = std::move(paired);
  }
  Json between = Json::array();
  for (const CandidatePair& pair : comparison.pairs) {
    Json paired = Json::array();
    for (const Verdict& verdict : pair.verdicts) paired.push_back(to_json(verdict));
    between.push_back({{"first", comparison.candidates[pair.first].model},
                       {"second", comparison.candidates[pair.second].model},
                       {"paired", std::move(paired)}});
  }
  return {{"baseline", to_json(comparison.baseline)},
          {"candidates", std::move(candidates)},
          {"between", std::move(between)}};
}

}  // namespace fptq::eval
