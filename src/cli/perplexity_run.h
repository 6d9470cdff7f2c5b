// The perplexities of one model, in steps, so that windows which a KL divergence runs as well are
// run once.

#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/console.h"
#include "cli/evaluated_model.h"
#include "cli/options.h"
#include "cli/tasks.h"
#include "eval/perplexity.h"

namespace fptq::cli {

// What --ppl, --protocol, --documents, --windows and --ctx say.
struct PerplexityRequest {
  std::filesystem::path text;
  std::string protocol;  // or "all"
  std::string documents;
  std::size_t max_windows = 0;
  std::size_t context = 0;
};

// The windows of a KL divergence are those of Protocol::kLlamaCpp, so that protocol alone waits
// for one: measure_unshared(), then take() for every window, then finish(). Without a divergence
// finish() does everything. Numbers are the same either way.
class PerplexityRun {
 public:
  // Reads the text, and takes from --samples-out what a stopped run has done. session has to
  // outlive it. Errors: kIo, kInvalidArgument; SamplesLog::begin()'s.
  [[nodiscard]] static Result<PerplexityRun> begin(const PerplexityRequest& request,
                                                   const EvaluatedModel& model,
                                                   const RunOptions& run, const std::string& name,
                                                   TaskSession& session);

  // Whether windows of a divergence on kl_text, the same way cut, may be those of this perplexity.
  [[nodiscard]] bool may_share(const std::string& kl_text) const;
  // Whether those of kl_context tokens are, for `model`, whose perplexities these are.
  // block_start: what the divergence's windows begin with.
  [[nodiscard]] bool shares(const eval::TextModel& model, std::size_t kl_context,
                            std::optional<eval::TokenId> block_start) const;

  // Measures the protocols that share nothing, and the first window of the one that does: so the
  // model runs before another one is in memory beside it. Errors: measure_perplexities()'s.
  [[nodiscard]] Status measure_unshared(const EvaluatedModel& model, Console& console);

  // Takes a window that a divergence ran. Errors: SamplesLog::add()'s.
  [[nodiscard]] Status take(std::size_t window, const eval::WindowScore& score);

  // Runs what is left. Returns the perplexities in the order of the protocols; once only. Errors:
  // measure_perplexities()'s, with what --resume can go on from.
  [[nodiscard]] Result<std::vector<eval::Perplexity>> finish(const EvaluatedModel& model,
                                                             Console& console);

 private:
  struct Measure {
    eval::PerplexityOptions how;
    std::optional<std::size_t> section;      // of --samples-out
    std::optional<eval::Perplexity> result;  // once it is known
  };

  // Measures those of `measures` at once.
  [[nodiscard]] Status run(const std::vector<Measure*>& measures, const EvaluatedModel& model,
                           Console& console);

  std::string text_;
  std::string name_;  // of the text
  std::vector<Measure> measures_;
  std::optional<std::size_t> shared_;  // which of them is that of kLlamaCpp
  TaskSession* session_ = nullptr;
};

}  // namespace fptq::cli
