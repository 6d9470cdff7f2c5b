#include "cli/perplexity_run.h"

#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"

namespace fptq::cli {
namespace {

using eval::Protocol;

Result<std::vector<Protocol>> protocols(const std::string& name) {
  if (name == "all") return std::vector{Protocol::kGptq, Protocol::kLlamaCpp, Protocol::kLmEval};
  FPTQ_TRY(const Protocol protocol, eval::parse_protocol(name));
  return std::vector{protocol};
}

}  // namespace

Result<PerplexityRun> PerplexityRun::begin(const PerplexityRequest& request,
                                           const EvaluatedModel& model, const RunOptions& run,
                                           const std::string& name, TaskSession& session) {
  PerplexityRun result;
  result.session_ = &session;
  result.name_ = request.text.string();
  FPTQ_TRY(result.text_, read_text_file(request.text));
  FPTQ_TRY(const auto wanted, protocols(request.protocol));
  FPTQ_TRY(const eval::DocumentMode documents, eval::parse_document_mode(request.documents));
  for (const Protocol protocol : wanted) {
    Measure measure{{protocol, documents, request.context, request.max_windows, {}, {}}, {}, {}};
    if (eval::SamplesLog* log = session.log()) {
      const Json key = {{"measure", "perplexity"},
                        {"model", model_key(name, model.loaded, run)},
                        {"protocol", eval::protocol_name(protocol)},
                        {"text_sha256", sha256_hex(std::as_bytes(std::span(result.text_)))},
                        {"documents", request.documents},
                        {"context", request.context}};
      FPTQ_TRY(eval::Finished finished, log->begin(key));
      measure.how.finished = std::move(finished.windows);
      measure.section = finished.section;
      measure.how.on_scored = [log, section = finished.section](std::size_t window,
                                                                const eval::WindowScore& score) {
        return log->add(section, window, score);
      };
    }
    if (protocol == Protocol::kLlamaCpp) result.shared_ = result.measures_.size();
    result.measures_.push_back(std::move(measure));
  }
  return result;
}

bool PerplexityRun::may_share(const std::string& kl_text) const {
  return shared_ && text_ == kl_text;
}

bool PerplexityRun::shares(const eval::TextModel& model, std::size_t kl_context,
                           std::optional<eval::TokenId> block_start) const {
  if (!shared_ || model.block_start != block_start) return false;
  const std::size_t own = measures_[*shared_].how.context;
  return kl_context == (own > 0 ? own : eval::default_context(Protocol::kLlamaCpp, model.context));
}

Status PerplexityRun::run(const std::vector<Measure*>& measures, const EvaluatedModel& model,
                          Console& console) {
  if (measures.empty()) return {};
  std::vector<eval::PerplexityOptions> how;
  how.reserve(measures.size());
  for (const Measure* measure : measures) how.push_back(measure->how);
  auto results = eval::measure_perplexities(model.view, *model.loaded.pool, text_, name_, how,
                                            console.progress());
  if (!results) return session_->with_hint(results.error());
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i]->result = std::move((*results)[i]);
    if (!measures[i]->section) continue;
    session_->log()->end(*measures[i]->section, measures[i]->result->window_nll.size());
  }
  return {};
}

Status PerplexityRun::measure_unshared(const EvaluatedModel& model, Console& console) {
  Measure* waiting = shared_ ? &measures_[*shared_] : nullptr;
  std::vector<Measure*> others;
  for (Measure& each : measures_) {
    if (&each != waiting) others.push_back(&each);
  }
  FPTQ_TRY_VOID(run(others, model, console));
  if (waiting == nullptr || waiting->how.finished.contains(0)) return {};
  eval::PerplexityOptions first = waiting->how;
  first.max_windows = 1;
  first.finished.clear();
  eval::WindowScore score;
  first.on_scored = [&score](std::size_t, const eval::WindowScore& found) {
    score = found;
    return Status();
  };
  const auto result = eval::measure_perplexity(model.view, *model.loaded.pool, text_, name_, first);
  return result ? take(0, score) : session_->with_hint(result.error());
}

Status PerplexityRun::take(std::size_t window, const eval::WindowScore& score) {
  Measure* waiting = shared_ ? &measures_[*shared_] : nullptr;
  if (waiting == nullptr || !waiting->how.finished.emplace(window, score).second) return {};
  return waiting->how.on_scored ? waiting->how.on_scored(window, score) : Status();
}

Result<std::vector<eval::Perplexity>> PerplexityRun::finish(const EvaluatedModel& model,
                                                            Console& console) {
  std::vector<Measure*> left;
  for (Measure& each : measures_) {
    if (!each.result) left.push_back(&each);
  }
  FPTQ_TRY_VOID(run(left, model, console));
  std::vector<eval::Perplexity> results;
  results.reserve(measures_.size());
  for (Measure& each : measures_) results.push_back(*std::move(each.result));
  return results;
}

}  // namespace fptq::cli
