// A baseline and the models made from it.

#pragma once

#include <optional>
#include <vector>

#include "base/json.h"
#include "eval/result.h"
#include "eval/verdicts.h"

namespace fptq::eval {

struct Comparison {
  EvalResult baseline;
  std::vector<EvalResult> candidates;
  std::vector<std::vector<Verdict>> verdicts = {};  // judge_differences() of them; or empty
  std::vector<CandidatePair> pairs = {};            // its pairs
};

// How a candidate stands to its baseline. Absent where either side was not measured.
struct Change {
  std::optional<double> perplexity_percent;  // 100 * (candidate / baseline - 1)
  std::optional<double> size_ratio;          // baseline disk bytes / candidate disk bytes
  std::optional<double> weights_ratio;       // the same in memory
  std::optional<double> prefill_speedup;     // candidate tokens per second / baseline's
  std::optional<double> decode_speedup;
};

// perplexity_index: which entry of `perplexities` is compared; it counts as measured where both
// sides have it under the same protocol, context and document mode.
[[nodiscard]] Change change_from(const EvalResult& baseline, const EvalResult& candidate,
                                 std::size_t perplexity_index = 0);

// The object that `fptq compare --json` writes: each candidate with its verdicts as "paired",
// and those on pairs of candidates as "between".
[[nodiscard]] Json to_json(const Comparison& comparison);

}  // namespace fptq::eval
