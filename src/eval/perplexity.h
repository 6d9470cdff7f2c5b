// Perplexity under the three protocols that published numbers follow.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "eval/documents.h"
#include "eval/logits_source.h"
#include "eval/statistics.h"
#include "eval/window_score.h"
#include "eval/windows.h"

namespace fptq::eval {

struct PerplexityOptions {
  Protocol protocol = Protocol::kGptq;
  DocumentMode documents = DocumentMode::kAuto;
  std::size_t context = 0;      // L; 0: the protocol's own, at most the model's
  std::size_t max_windows = 0;  // score only the first windows; 0: all
  // Windows that were scored before, by index; they are not run again.
  std::map<std::size_t, WindowScore> finished = {};
  // Called for each further window.
  std::function<Status(std::size_t window, const WindowScore& score)> on_scored = {};
};

// What is taken as independent where a standard error over clusters is computed.
//   kWindows    the windows of the protocol
//   kDocuments  articles, each with its own words: kLmEval where the text has several
enum class ClusterUnit { kWindows, kDocuments };

// "windows", "documents".
[[nodiscard]] std::string_view cluster_unit_name(ClusterUnit unit);

struct Perplexity {
  Protocol protocol = Protocol::kGptq;
  DocumentMode documents = DocumentMode::kWhole;  // what the text was taken for
  std::size_t context = 0;                        // L
  bool bos = false;                               // whether the first window begins with BOS
  bool all_windows = true;                        // false: only the first windows were scored
  std::string text_sha256;                        // of the text as it was given
  // exp(nll / tokens), or exp(nll / words) for kLmEval.
  double value = 0.0;
  // Standard error of `value` to first order: value * s / sqrt(tokens), s the sample standard
  // deviation of the tokens' negative log-likelihoods, taken as independent. llama.cpp prints the
  // same. Absent for kLmEval, for which the harness defines none, and below two tokens.
  std::optional<double> standard_error;
  // Standard error of `value` that allows for neighbours being alike: value times that of
  // cluster_ratio() over `clusters` windows, nats and scored tokens of each; for kLmEval over
  // documents, nats and words of each, or, where there is one document, over windows with the
  // words of each in proportion to its tokens. Absent below two clusters.
  std::optional<double> cluster_standard_error;
  ClusterUnit cluster_unit = ClusterUnit::kWindows;
  std::size_t clusters = 0;
  // exp(log(value) -+ t * cluster_standard_error / value), 95 percent, t of clusters - 1 degrees
  // of freedom.
  std::optional<Interval> interval;
  double nll = 0.0;        // sum over scored tokens, nats
  std::size_t tokens = 0;  // scored
  // kLmEval only: the other protocols leave out parts of the text.
  std::optional<std::size_t> words;
  std::optional<std::size_t> bytes;
  std::optional<double> byte_perplexity;   // exp(nll / bytes)
  std::optional<double> bits_per_byte;     // nll / bytes / log(2)
  std::vector<double> window_nll;          // sum over each window's scored tokens, nats
  std::vector<std::size_t> window_tokens;  // scored tokens of each window
};

// Measures in the order of `options`, on all threads of the pool; logits are held for a few
// positions at a time. Windows of the same tokens run once, whatever protocol they belong to: the
// same tokens at the same positions have the same logits. So kGptq and kLlamaCpp with the same
// context share every window that no BOS was put into (all of them where the tokenizer adds none,
// else the first), unless they cut different texts (kWikitext). kLmEval shares none, because of the
// token it puts first.
//
//   text  UTF-8; `name` is what messages call it
//
// Errors: make_documents()'s; kFormat where the text is shorter than one window, with the tokens
// it has and those needed, and where the model's logits are not finite; kInvalidArgument for a
// context that is too small to score a token, and for kLmEval where the model has no token to
// begin a text with; kInterrupted; what encoding, the model or on_scored return.
[[nodiscard]] Result<std::vector<Perplexity>> measure_perplexities(
    const TextModel& model, ThreadPool& pool, std::string_view text, const std::string& name,
    const std::vector<PerplexityOptions>& options, const ProgressFn& progress = {});

// The same under one protocol.
[[nodiscard]] Result<Perplexity> measure_perplexity(const TextModel& model, ThreadPool& pool,
                                                    std::string_view text, const std::string& name,
                                                    const PerplexityOptions& options,
                                                    const ProgressFn& progress = {});

}  // namespace fptq::eval
