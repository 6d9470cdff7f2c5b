// KL divergence between two models that run side by side.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "eval/divergence.h"
#include "eval/documents.h"
#include "eval/logits_source.h"
#include "eval/window_score.h"

namespace fptq::eval {

struct KlOptions {
  DocumentMode documents = DocumentMode::kAuto;
  std::size_t context = 0;      // tokens in a window; 0: 512, at most either model's context
  std::size_t max_windows = 0;  // compare only the first windows; 0: all
  // Positions of windows that were compared before, by index; they are not run again.
  std::map<std::size_t, std::vector<TokenDivergence>> finished = {};
  // Called for each further window.
  std::function<Status(std::size_t window, std::span<const TokenDivergence> positions)>
      on_compared = {};
  // Called for each further window with what either model gave its tokens: the scores, to the bit,
  // of measure_perplexity() under Protocol::kLlamaCpp in the same window of the same text.
  std::function<Status(std::size_t window, const WindowScore& base, const WindowScore& candidate)>
      on_scored = {};
};

// Tokens in a window of measure_kl(). Errors: kInvalidArgument for a context below 3.
[[nodiscard]] Result<std::size_t> kl_context(const TextModel& base, const TextModel& candidate,
                                             const KlOptions& options);

// Compares in the windows of Protocol::kLlamaCpp, so that the numbers stand beside those of
// llama-perplexity --kl-divergence: the second half of each, in double precision, logits of a few
// positions at a time.
//
// Errors: kInvalidArgument where the models differ in vocabulary or tokenize the text
// differently, with what differs, and for a context below 3; otherwise measure_perplexity()'s
// and those of on_compared and on_scored.
[[nodiscard]] Result<KlDivergence> measure_kl(const TextModel& base, const TextModel& candidate,
                                              ThreadPool& pool, std::string_view text,
                                              const std::string& name, const KlOptions& options,
                                              const ProgressFn& progress = {});

}  // namespace fptq::eval
