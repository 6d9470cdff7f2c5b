// What is known of several models, side by side: the table and the page.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/table.h"

namespace fptq::report {

struct PerplexityFigure {
  std::string protocol;  // "gptq"
  std::string unit;      // what the value is per: "token" or "word"
  std::size_t context = 0;
  std::size_t tokens = 0;
  double value = 0.0;
  std::optional<double> standard_error;
  std::optional<double> bits_per_byte;
  std::optional<std::pair<double, double>> interval = {};  // 95 percent confidence
};

// Counts of values between edges; edges.size() == counts.size() + 1, ascending.
struct HistogramFigure {
  std::vector<double> edges;
  std::vector<std::size_t> counts;
  std::size_t below = 0;  // of values under the first edge
  std::size_t above = 0;  // of the last edge and over
};

// Positions at which the baseline gave its most probable token a probability in [from, to).
struct ConfidenceFigure {
  double from = 0.0;
  double to = 0.0;
  std::size_t tokens = 0;
  std::optional<double> agreement;  // 0..1; absent without a position
  std::optional<double> standard_error;
};

// From the baseline, nats.
struct DivergenceFigure {
  double mean = 0.0;
  std::optional<double> standard_error;  // over windows
  double median = 0.0;
  double p90 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
  double top1_agreement = 0.0;  // 0..1
  double rms_delta_p = 0.0;     // 0..1
  std::size_t tokens = 0;
  std::optional<std::pair<double, double>> interval = {};  // of the mean, 95 percent confidence
  std::optional<HistogramFigure> histogram = {};
  std::vector<ConfidenceFigure> by_confidence = {};
};

// A zero-shot or few-shot task. Shares 0..1; absent: the task does not define it.
struct TaskFigure {
  std::string name;           // "arc_easy"
  std::size_t shots = 0;      // examples in front of each document
  std::size_t documents = 0;  // that were scored
  double acc = 0.0;
  std::optional<double> acc_error;  // standard error
  std::optional<double> acc_norm;
  std::optional<double> acc_norm_error;
  std::optional<double> perplexity;
  std::optional<double> perplexity_error;
};

// What a paired test says of a candidate beside the baseline, or beside another candidate.
struct VerdictFigure {
  std::string measure;        // the column it is about: measure_name()
  double difference = 0.0;    // candidate - baseline (or other candidate), in the measure's unit
  std::optional<double> low;  // confidence interval of the difference
  std::optional<double> high;
  std::optional<double> p;  // of a difference at least that large where there is none
  std::size_t n = 0;        // pairs
  bool distinguishable = false;
  std::string sentence;  // what it means, in plain words
  bool part = false;     // of a task that has its own verdict: a subject
};

// "0.0200 +- 0.001", or without the error where there is none.
[[nodiscard]] std::string with_error(const DivergenceFigure& divergence);

// What executed one layer.
struct LayerFigure {
  std::string layer;
  std::string scheme;
  std::string kernel;
  std::string isa;
  std::uint64_t calls = 0;
};

// How far one linear's stored weights are from the baseline's.
struct WeightErrorFigure {
  std::size_t block = 0;        // of the decoder, from 0
  std::string kind;             // "self_attn.q_proj"
  std::string scheme;           // "w4g32-a8t"
  double relative_error = 0.0;  // Frobenius norm of the difference / that of the weights
};

// The input of one linear over the calibration set, in activation units.
struct ActivationFigure {
  std::size_t block = 0;
  std::string kind;
  double absmax = 0.0;
  double p9999_below = 0.0;                // 99.99 % of all values stay below this power of two
  std::optional<double> equalized_absmax;  // absent: not equalized
  std::string policy;                      // what became of it; may be empty
};

// Bytes on disk of tensors of one kind.
struct KindBytes {
  std::string kind;  // "embedding"
  std::uint64_t bytes = 0;
};

// A model's greedy continuation of a prompt, cut where it leaves the baseline's.
struct ContinuationFigure {
  std::string same;            // text of the tokens that agree; the baseline's: all of it
  std::string diverging;       // text of the first token that differs; may be empty
  std::string rest;            // text behind it
  std::size_t tokens = 0;      // generated, an end-of-text token included
  std::size_t agreeing = 0;    // of them, before the first that differs
  bool differs = false;        // false: as long as the baseline's and the same
  std::string diverging_name;  // the first token that differs, in words: "\u2019s", "end of text"
};

// Absent: not measured.
struct ModelFigures {
  std::string name;
  std::string scheme;
  std::vector<PerplexityFigure> perplexities;
  std::optional<DivergenceFigure> divergence;
  std::optional<std::uint64_t> disk_bytes;
  std::optional<std::uint64_t> weights_bytes;
  std::optional<std::uint64_t> peak_rss_bytes;
  std::optional<double> load_s;
  std::optional<double> prefill_tok_s;
  std::optional<double> decode_tok_s;
  std::optional<double> first_token_s;
  std::optional<double> token_s_median;
  std::optional<double> token_s_p95;
  std::optional<double> energy_j_per_token;
  std::optional<double> other_work;  // share of the machine that other processes used, 0..1
  std::vector<LayerFigure> receipt;
  std::vector<TaskFigure> tasks;
  std::vector<VerdictFigure> verdicts;  // beside the baseline; empty for the baseline itself
  std::vector<KindBytes> disk_by_kind;
  std::vector<double> token_s;  // of every generated token that was timed, in order
  std::vector<WeightErrorFigure> weight_errors;
  std::vector<ActivationFigure> activations;
  std::vector<ContinuationFigure> continuations;  // of Comparison::prompts, or empty
};

// What tells two candidates apart, the first in the place of the baseline.
struct PairFigure {
  std::size_t first = 0;  // of Comparison::models
  std::size_t second = 0;
  std::vector<VerdictFigure> verdicts;
};

struct Comparison {
  std::vector<ModelFigures> models;  // the baseline first; at least one
  // Command, version, machine, date, texts: whatever lets somebody repeat the measurement.
  std::vector<std::pair<std::string, std::string>> provenance;
  std::vector<std::string> warnings;
  std::vector<std::string> prompts = {};  // of the sample texts
  std::vector<PairFigure> pairs = {};     // of candidates
};

// What VerdictFigure::measure calls a perplexity, an accuracy, and the divergence: "ppl gptq",
// "arc_easy acc", "arc_easy acc_norm", "KL".
[[nodiscard]] std::string measure_name(const PerplexityFigure& figure);
[[nodiscard]] std::string measure_name(const TaskFigure& figure, bool normalized);

// The same perplexity, or task with as many examples, of another model; null where it has none.
[[nodiscard]] const PerplexityFigure* matching(const ModelFigures& model,
                                               const PerplexityFigure& wanted);
[[nodiscard]] const TaskFigure* matching(const ModelFigures& model, const TaskFigure& wanted);
// What a test says of that measure; null where none was made.
[[nodiscard]] const VerdictFigure* verdict_of(const ModelFigures& model,
                                              const std::string& measure);

// What each model is called in charts and sentences: the last part of its path where that is its
// alone, else the whole name. Never empty.
[[nodiscard]] std::vector<std::string> display_names(const Comparison& comparison);

// One row a model, in the order given; columns of which no model has a value are left out.
[[nodiscard]] Table comparison_table(const Comparison& comparison);

// What the marks and columns of that table mean, a line each; only what it has.
[[nodiscard]] std::vector<std::string> comparison_legend(const Comparison& comparison);

// A sentence for each candidate in plain words, in the order of the models: "w4g32-a8t is 3.6
// times smaller; perplexity rises by 1.1 %; ...". Says nothing of what was not measured.
[[nodiscard]] std::vector<std::string> summary_sentences(const Comparison& comparison);

// Every number with all its digits under a header of names, a line each model (RFC 4180, but lines
// end in "\n"); columns of which no model has a value are left out, and so are lists. A pair of
// candidates stands in the line of its second: "arc_easy acc p beside FIRST".
[[nodiscard]] std::string comparison_csv(const Comparison& comparison);

// The summary, the table with its legend, verdicts and how it was measured, as GitHub-flavoured
// Markdown.
[[nodiscard]] std::string comparison_markdown(const Comparison& comparison);

// A page that needs nothing else: no script, no other file, light or dark as the reader's system,
// every text escaped.
[[nodiscard]] std::string comparison_html(const Comparison& comparison);

}  // namespace fptq::report
