#include "eval/verdicts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "eval/bootstrap.h"
#include "eval/paired.h"
#include "eval/verdict_sentence.h"

namespace fptq::eval {
namespace {

constexpr double kLevel = 0.05;

// Nothing, or why two results cannot be compared.
using Reason = std::optional<std::string>;

Reason hashes_differ(const std::string& what, const std::string& baseline,
                     const std::string& candidate) {
  if (baseline == candidate) return std::nullopt;
  return fmt::format("expected the same {}, got sha256 {} and {}", what, baseline, candidate);
}

Reason counts_differ(const std::string& what, std::size_t baseline, std::size_t candidate) {
  if (baseline == candidate) return std::nullopt;
  return fmt::format("expected as many {}, got {} and {}", what, baseline, candidate);
}

Reason why_not(const TaskResult& baseline, const TaskResult& candidate) {
  if (auto reason = counts_differ("shots", baseline.shots, candidate.shots)) return reason;
  if (auto reason = hashes_differ("data", baseline.data_sha256, candidate.data_sha256)) {
    return reason;
  }
  if (auto reason =
          counts_differ("documents", baseline.documents.size(), candidate.documents.size())) {
    return reason;
  }
  if (baseline.documents.empty()) return "expected at least one document, got none";
  for (std::size_t i = 0; i < baseline.documents.size(); ++i) {
    const std::size_t before = baseline.documents[i].document;
    const std::size_t after = candidate.documents[i].document;
    if (before != after) {
      return fmt::format("expected the same documents, got {} and {} in place {}", before, after,
                         i);
    }
  }
  return std::nullopt;
}

Reason why_not(const Perplexity& baseline, const Perplexity& candidate) {
  if (auto reason = hashes_differ("text", baseline.text_sha256, candidate.text_sha256)) {
    return reason;
  }
  if (baseline.context != candidate.context) {
    return fmt::format("expected the same context, got {} and {} tokens", baseline.context,
                       candidate.context);
  }
  if (baseline.documents != candidate.documents) {
    return fmt::format("expected the text cut alike, got {} and {}",
                       document_mode_name(baseline.documents),
                       document_mode_name(candidate.documents));
  }
  if (auto reason =
          counts_differ("windows", baseline.window_nll.size(), candidate.window_nll.size())) {
    return reason;
  }
  if (baseline.window_nll.empty()) return "expected at least one window, got none";
  if (baseline.window_tokens != candidate.window_tokens || baseline.bos != candidate.bos) {
    return "expected the same tokens in every window, got others. Do the models share a tokenizer?";
  }
  return std::nullopt;
}

// What is compared of a task: 0 or 1 of a document, nothing where the task does not define it.
using Judgement = std::optional<double> (*)(const DocumentScore&);

std::optional<double> acc_of(const DocumentScore& document) {
  return document.acc;
}
std::optional<double> acc_norm_of(const DocumentScore& document) {
  return document.acc_norm;
}

Reason not_a_judgement(const DocumentScore& document, std::optional<double> value) {
  if (value && (*value == 0.0 || *value == 1.0)) return std::nullopt;
  return fmt::format("document {}: expected 0 or 1, got {}", document.document,
                     value ? fmt::format("{}", *value) : "nothing");
}

// Documents [begin, end) of both.
void compare_accuracies(const TaskResult& baseline, const TaskResult& candidate,
                        Judgement judgement, std::size_t begin, std::size_t end, Verdict& verdict) {
  verdict.n = end - begin;
  verdict.identical = true;
  for (std::size_t i = begin; i < end; ++i) {
    const DocumentScore& before = baseline.documents[i];
    const DocumentScore& after = candidate.documents[i];
    for (const DocumentScore* document : {&before, &after}) {
      if (auto reason = not_a_judgement(*document, judgement(*document))) {
        verdict.reason = *reason;
        return;
      }
    }
    verdict.identical &= before.log_likelihoods == after.log_likelihoods;
    if (*judgement(before) == *judgement(after)) continue;
    (*judgement(after) == 1.0 ? verdict.won : verdict.lost).push_back(before.document);
  }
  const PairedAnswers answers{verdict.n, verdict.won.size(), verdict.lost.size()};
  verdict.difference = answers.difference();
  verdict.interval = tango_interval(answers);
  verdict.p = mcnemar_p(answers.won, answers.lost);
}

// sums: candidate's nats less baseline's of each cluster; sizes: what they are of.
void compare_means(const std::vector<double>& sums, const std::vector<double>& sizes,
                   Verdict& verdict) {
  verdict.n = sums.size();
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (std::isfinite(sums[i]) && sizes[i] > 0.0) continue;
    verdict.reason = fmt::format(
        "{} {}: expected finite log-likelihoods of some tokens, got a "
        "difference of {} nats over {}",
        verdict.unit, i, sums[i], sizes[i]);
    return;
  }
  verdict.identical = std::all_of(sums.begin(), sums.end(), [](double sum) { return sum == 0.0; });
  const ClusterRatio ratio = cluster_ratio(sums, sizes);
  verdict.difference = ratio.value;
  if (sums.size() < kFewestClusters) return;
  const BootstrapRatio resampled = bootstrap_ratio(sums, sizes);
  verdict.interval = resampled.interval;
  verdict.p = verdict.identical ? 1.0 : resampled.p;
  verdict.deviation = *ratio.standard_error * std::sqrt(static_cast<double>(sums.size()));
}

void compare_task_perplexities(const TaskResult& baseline, const TaskResult& candidate,
                               Verdict& verdict) {
  std::vector<double> sums;
  sums.reserve(baseline.documents.size());
  for (std::size_t i = 0; i < baseline.documents.size(); ++i) {
    const std::vector<double>& before = baseline.documents[i].log_likelihoods;
    const std::vector<double>& after = candidate.documents[i].log_likelihoods;
    if (before.empty() || after.empty()) {
      verdict.reason = fmt::format("document {}: expected a log-likelihood, got none",
                                   baseline.documents[i].document);
      return;
    }
    sums.push_back(before.front() - after.front());
  }
  compare_means(sums, std::vector<double>(sums.size(), 1.0), verdict);
}

void compare_text_perplexities(const Perplexity& baseline, const Perplexity& candidate,
                               Verdict& verdict) {
  const bool by_document = baseline.cluster_unit == ClusterUnit::kDocuments;
  std::vector<double> sums;
  std::vector<double> sizes;
  bool is_new = true;
  for (std::size_t i = 0; i < baseline.window_nll.size(); ++i) {
    if (is_new) {
      sums.push_back(0.0);
      sizes.push_back(0.0);
    }
    sums.back() += candidate.window_nll[i] - baseline.window_nll[i];
    sizes.back() += static_cast<double>(baseline.window_tokens[i]);
    // All windows of a document but its last one are full. Where the last is full too, the next
    // document joins it, which leaves fewer and larger clusters.
    is_new = !by_document || baseline.window_tokens[i] < baseline.context;
  }
  compare_means(sums, sizes, verdict);
}

std::vector<Verdict> task_verdicts(const TaskResult& baseline, const TaskResult* candidate) {
  const Reason reason =
      candidate == nullptr ? Reason("the candidate has no result") : why_not(baseline, *candidate);
  std::vector<Verdict> verdicts;
  const auto add = [&](const std::string& name, const char* measure, VerdictKind kind,
                       const auto& compare) {
    Verdict& verdict = verdicts.emplace_back();
    verdict.measure = name + " " + measure;
    verdict.kind = kind;
    verdict.reason = reason.value_or("");
    if (!reason) compare(verdict);
  };
  const std::size_t all = baseline.documents.size();
  add(baseline.name, "acc", VerdictKind::kAccuracy,
      [&](Verdict& verdict) { compare_accuracies(baseline, *candidate, acc_of, 0, all, verdict); });
  if (baseline.acc_norm) {
    add(baseline.name, "acc_norm", VerdictKind::kAccuracy, [&](Verdict& verdict) {
      compare_accuracies(baseline, *candidate, acc_norm_of, 0, all, verdict);
    });
  }
  if (baseline.perplexity) {
    add(baseline.name, "perplexity", VerdictKind::kPerplexity,
        [&](Verdict& verdict) { compare_task_perplexities(baseline, *candidate, verdict); });
  }
  for (const TaskResult::Part& part : baseline.parts) {
    if (part.begin == part.end) continue;
    add(part.name, "acc", VerdictKind::kAccuracy, [&](Verdict& verdict) {
      compare_accuracies(baseline, *candidate, acc_of, part.begin, part.end, verdict);
    });
    verdicts.back().part_of = baseline.name + " acc";
  }
  return verdicts;
}

Verdict text_verdict(const Perplexity& baseline, const Perplexity* candidate) {
  Verdict verdict;
  verdict.measure = std::string(protocol_name(baseline.protocol)) + " perplexity";
  verdict.kind = VerdictKind::kPerplexity;
  verdict.unit = baseline.cluster_unit == ClusterUnit::kDocuments ? "document" : "window";
  const Reason reason =
      candidate == nullptr ? Reason("the candidate has no result") : why_not(baseline, *candidate);
  if (reason) {
    verdict.reason = *reason;
  } else {
    compare_text_perplexities(baseline, *candidate, verdict);
  }
  return verdict;
}

// Windows of the same text under the same options, so of the same lengths.
Verdict divergence_verdict(const KlDivergence& first, const KlDivergence& second) {
  Verdict verdict;
  verdict.measure = "KL divergence";
  verdict.kind = VerdictKind::kDivergence;
  verdict.unit = "window";
  if (first.context != second.context || first.window_tokens != second.window_tokens) {
    verdict.reason = "expected the same windows, got others";
    return verdict;
  }
  std::vector<double> sums;
  std::vector<double> sizes;
  for (std::size_t w = 0; w < first.window_kl.size(); ++w) {
    sizes.push_back(static_cast<double>(first.window_tokens[w]));
    sums.push_back((second.window_kl[w] - first.window_kl[w]) * sizes.back());
  }
  compare_means(sums, sizes, verdict);
  return verdict;
}

template <typename T, typename Same>
const T* find(const std::vector<T>& results, const Same& same) {
  const auto found = std::find_if(results.begin(), results.end(), same);
  return found == results.end() ? nullptr : &*found;
}

std::vector<Verdict> compare_results(const EvalResult& baseline, const EvalResult& candidate) {
  std::vector<Verdict> verdicts;
  for (const TaskResult& task : baseline.tasks) {
    const TaskResult* other =
        find(candidate.tasks, [&](const TaskResult& result) { return result.name == task.name; });
    for (Verdict& verdict : task_verdicts(task, other)) verdicts.push_back(std::move(verdict));
  }
  for (const Perplexity& perplexity : baseline.perplexities) {
    verdicts.push_back(
        text_verdict(perplexity, find(candidate.perplexities, [&](const Perplexity& other) {
                       return other.protocol == perplexity.protocol;
                     })));
  }
  return verdicts;
}

std::optional<double> units_to_settle(const Verdict& verdict, double level) {
  if (verdict.kind == VerdictKind::kAccuracy) {
    return documents_to_settle({verdict.n, verdict.won.size(), verdict.lost.size()}, level);
  }
  return values_to_settle(*verdict.difference, *verdict.deviation, level);
}

// What depends on how many comparisons there are.
void adjust(const std::vector<Verdict*>& tested) {
  std::vector<double> p;
  p.reserve(tested.size());
  for (const Verdict* verdict : tested) p.push_back(*verdict->p);
  const std::vector<double> adjusted = holm_adjusted(p);
  for (std::size_t i = 0; i < tested.size(); ++i) {
    Verdict& verdict = *tested[i];
    verdict.p_holm = adjusted[i];
    verdict.distinguishable = adjusted[i] <= kLevel;
    verdict.needed = units_to_settle(verdict, kLevel / static_cast<double>(tested.size()));
  }
}

// Adjusts those that were tested, and says all of them in words.
void conclude(const std::vector<Verdict*>& all) {
  std::vector<Verdict*> tested;
  for (Verdict* verdict : all) {
    if (verdict->p) tested.push_back(verdict);
  }
  adjust(tested);
  for (Verdict* verdict : all) {
    verdict->comparisons = tested.size();
    verdict->sentence = verdict_sentence(*verdict);
  }
}

// A whole number; null also where nobody has that many.
Json needed_json(std::optional<double> needed) {
  if (!needed || !(*needed <= 1e15)) return nullptr;
  return static_cast<std::uint64_t>(std::ceil(*needed));
}

}  // namespace

AllVerdicts judge_differences(const EvalResult& baseline, std::span<const EvalResult> candidates) {
  AllVerdicts result;
  for (const EvalResult& candidate : candidates) {
    result.candidates.push_back(compare_results(baseline, candidate));
  }
  for (std::size_t first = 0; first < candidates.size(); ++first) {
    for (std::size_t second = first + 1; second < candidates.size(); ++second) {
      const EvalResult& one = candidates[first];
      const EvalResult& other = candidates[second];
      CandidatePair pair{first, second, compare_results(one, other)};
      if (one.kl && other.kl) pair.verdicts.push_back(divergence_verdict(*one.kl, *other.kl));
      result.pairs.push_back(std::move(pair));
    }
  }
  std::vector<Verdict*> all;
  for (std::vector<Verdict>& of_candidate : result.candidates) {
    for (Verdict& verdict : of_candidate) all.push_back(&verdict);
  }
  for (CandidatePair& pair : result.pairs) {
    for (Verdict& verdict : pair.verdicts) all.push_back(&verdict);
  }
  const auto parts = std::stable_partition(
      all.begin(), all.end(), [](const Verdict* verdict) { return verdict->part_of.empty(); });
  conclude({all.begin(), parts});
  conclude({parts, all.end()});
  return result;
}

Json to_json(const Verdict& verdict) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  const bool counts = verdict.kind == VerdictKind::kAccuracy && verdict.p.has_value();
  return {{"measure", verdict.measure},
          {"part_of", verdict.part_of.empty() ? Json(nullptr) : Json(verdict.part_of)},
          {"unit", verdict.unit + "s"},
          {"n", verdict.n},
          {"difference", or_null(verdict.difference)},
          {"ci95",
           verdict.interval ? Json{verdict.interval->low, verdict.interval->high} : Json(nullptr)},
          {"p", or_null(verdict.p)},
          {"p_holm", or_null(verdict.p_holm)},
          {"comparisons", verdict.comparisons},
          {"won", counts ? Json(verdict.won.size()) : Json(nullptr)},
          {"lost", counts ? Json(verdict.lost.size()) : Json(nullptr)},
          {"won_documents", counts ? Json(verdict.won) : Json(nullptr)},
          {"lost_documents", counts ? Json(verdict.lost) : Json(nullptr)},
          {"documents_needed", needed_json(verdict.needed)},
          {"distinguishable", or_null(verdict.distinguishable)},
          {"sentence", verdict.sentence}};
}

}  // namespace fptq::eval
