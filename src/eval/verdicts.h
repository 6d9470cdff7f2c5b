// Which differences between a baseline and its candidates are more than chance.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/result.h"
#include "eval/statistics.h"

namespace fptq::eval {

// Means over fewer clusters get no p: the quantiles of so few are no more than a guess.
constexpr std::size_t kFewestClusters = 10;

// What a difference is counted in.
//   kAccuracy    share of documents that are right, candidate's less baseline's
//   kPerplexity  log of the ratio of perplexities, candidate's over baseline's: nats per token of a
//                text, nats per document of a task
//   kDivergence  mean KL divergence from the same base, the second candidate's less the first's;
//                nats per token
enum class VerdictKind { kAccuracy, kPerplexity, kDivergence };

// One measure of one candidate beside the baseline's, on the same documents or windows.
struct Verdict {
  std::string measure;  // "arc_easy acc", "lambada_openai perplexity", "gptq perplexity"
  VerdictKind kind = VerdictKind::kAccuracy;
  std::string unit = "document";  // what is taken as independent; or "window"
  std::size_t n = 0;              // of them
  std::optional<double> difference;
  std::optional<Interval> interval;  // 95 % of the difference, not adjusted
  std::optional<double> p;           // two-sided, of no difference
  std::optional<double> p_holm;      // adjusted for all comparisons of the run
  std::size_t comparisons = 0;       // of the run: those that have a p
  // kAccuracy: documents (indices in the task's data) that only the candidate, or only the
  // baseline, got right.
  std::vector<std::size_t> won;
  std::vector<std::size_t> lost;
  std::optional<double> deviation;  // of means: standard deviation of one unit's difference
  bool identical = false;           // the same numbers from both, to the bit
  // Units that would settle a difference of this size (power 80 %), at a level of 5 % shared among
  // the comparisons: 0.05 / comparisons. Absent without a difference or a p.
  std::optional<double> needed;
  std::optional<bool> distinguishable;  // p_holm <= 0.05; absent without a p
  // The measure whose documents these are a part of: "mmlu acc" of "mmlu_anatomy acc". Empty: none.
  std::string part_of = {};
  std::string reason;    // why nothing was compared; empty: it was
  std::string sentence;  // all of this for people
};

// What tells two candidates apart, the first in the place of the baseline: the measures of
// AllVerdicts, and their divergences from the baseline, paired by windows.
struct CandidatePair {
  std::size_t first = 0;  // of the candidates
  std::size_t second = 0;
  std::vector<Verdict> verdicts;
};

// The verdicts on each candidate: acc, acc_norm and perplexity of every task of the baseline, and
// acc of each of its parts (the subjects of mmlu), then
// its perplexity of the text under every protocol. One without a counterpart on the same documents
// or windows gets a reason instead of numbers. And those on every pair of candidates.
struct AllVerdicts {
  std::vector<std::vector<Verdict>> candidates;
  std::vector<CandidatePair> pairs;
};

// Accuracies: mcnemar_p(), tango_interval(). Perplexities and divergences: bootstrap_ratio() over
// documents of a task or windows of a text (kLmEval with several documents: over documents, as far
// as window lengths tell them apart), from kFewestClusters on. All that have a p, of pairs too,
// share holm_adjusted(), and parts of tasks share one of their own: 57 subjects would leave little
// of what a group of them can tell.
[[nodiscard]] AllVerdicts judge_differences(const EvalResult& baseline,
                                            std::span<const EvalResult> candidates);

// An entry of "paired" in what `fptq compare --json` writes.
[[nodiscard]] Json to_json(const Verdict& verdict);

}  // namespace fptq::eval
