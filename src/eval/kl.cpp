#include "eval/kl.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "eval/logit_row.h"
#include "eval/softmax.h"
#include "eval/windows.h"
#include "ops/exp.h"

namespace fptq::eval {
namespace {

// The ids of the text, which have to be the same for both models.
Result<std::vector<TokenId>> encode_for_both(const TextModel& base, const TextModel& candidate,
                                             std::string_view text) {
  const std::size_t base_rows = base.logits->vocabulary();
  const std::size_t candidate_rows = candidate.logits->vocabulary();
  if (base_rows != candidate_rows) {
    return Error{Error::Kind::kInvalidArgument,
                 "KL divergence: expected two models with the same vocabulary, got " +
                     std::to_string(base_rows) + " and " + std::to_string(candidate_rows) +
                     " tokens. Is the candidate made from that base?"};
  }
  FPTQ_TRY(std::vector<TokenId> ids, base.encode(text));
  FPTQ_TRY(const std::vector<TokenId> other, candidate.encode(text));
  if (ids != other) {
    const auto [one, two] = std::mismatch(ids.begin(), ids.end(), other.begin(), other.end());
    const auto id_text = [](auto at, auto end) {
      return at == end ? std::string("the end") : "id " + std::to_string(*at);
    };
    return Error{Error::Kind::kInvalidArgument,
                 "KL divergence: expected two models that tokenize the text alike, got " +
                     id_text(one, ids.end()) + " and " + id_text(two, other.end()) + " at token " +
                     std::to_string(one - ids.begin()) + ". Is the candidate made from that base?"};
  }
  for (const TokenId id : ids) {
    if (id >= 0 && static_cast<std::size_t>(id) < base_rows) continue;
    return Error{Error::Kind::kFormat,
                 "tokenizer: expected ids below " + std::to_string(base_rows) +
                     ", the rows of the models' classifiers, got " + std::to_string(id)};
  }
  return ids;
}

// Runs both models through windows and collects what differs. Of each model the logits of a few
// positions are in memory, however many windows there are.
class Comparer {
 public:
  // What a window gave.
  struct Outcome {
    std::span<const TokenDivergence> positions;  // valid until the next call
    WindowScore base;                            // 0 unless scores are wanted
    WindowScore candidate;
  };

  Comparer(LogitsSource& base, LogitsSource& candidate, ThreadPool& pool, bool wants_scores)
      : base_(base),
        candidate_(candidate),
        pool_(&pool),
        vocabulary_(base.vocabulary()),
        exp_(base.isa()),
        wants_scores_(wants_scores) {}

  Result<Outcome> compare(std::span<const TokenId> tokens, std::size_t first_scored) {
    positions_.clear();
    Outcome outcome;
    FPTQ_TRY_VOID(base_.open(tokens, first_scored));
    FPTQ_TRY_VOID(candidate_.open(tokens, first_scored));
    for (std::size_t i = first_scored; i < tokens.size();) {
      const std::size_t rows = std::min(base_.rows_at_a_time(), tokens.size() - i);
      FPTQ_TRY(const std::span<const float> p, base_.read(rows));
      FPTQ_TRY(const std::span<const float> q, candidate_.read(rows));
      rows_.resize(rows);
      pool_->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
          rows_[r] = look_at(p.subspan(r * vocabulary_, vocabulary_),
                             q.subspan(r * vocabulary_, vocabulary_), tokens[i + r]);
        }
      });
      for (const Row& row : rows_) {
        const TokenDivergence& position = row.divergence;
        if (std::isnan(position.kl) || std::isnan(position.delta_p) ||
            std::isnan(position.base_top_p)) {
          return Error{Error::Kind::kFormat,
                       "KL divergence: expected finite logits, got infinity or NaN. Are the "
                       "weights damaged?"};
        }
        positions_.push_back(position);
        outcome.base.add(row.base_nll);
        outcome.candidate.add(row.candidate_nll);
      }
      i += rows;
    }
    outcome.positions = positions_;
    return outcome;
  }

 private:
  struct Row {
    TokenDivergence divergence;
    double base_nll = 0.0;  // of the token that follows, nats
    double candidate_nll = 0.0;
  };

  // base, candidate: [V].
  [[nodiscard]] Row look_at(std::span<const float> base, std::span<const float> candidate,
                            TokenId target) const {
    Row row{compare_logits(base, candidate, target)};
    if (!wants_scores_) return row;
    row.base_nll = negative_log_likelihood(base, target, exp_);
    row.candidate_nll = negative_log_likelihood(candidate, target, exp_);
    return row;
  }

  WindowReader base_;
  WindowReader candidate_;
  ThreadPool* pool_;
  std::size_t vocabulary_;
  ops::Exp exp_;
  bool wants_scores_;
  std::vector<Row> rows_;
  std::vector<TokenDivergence> positions_;
};

}  // namespace

Result<std::size_t> kl_context(const TextModel& base, const TextModel& candidate,
                               const KlOptions& options) {
  if (options.context == 0) {
    return default_context(Protocol::kLlamaCpp, std::min(base.context, candidate.context));
  }
  const std::size_t smallest = smallest_context(Protocol::kLlamaCpp);
  if (options.context >= smallest) return options.context;
  return Error{Error::Kind::kInvalidArgument,
               "context: expected at least " + std::to_string(smallest) +
                   " tokens for a KL divergence, got " + std::to_string(options.context)};
}

Result<KlDivergence> measure_kl(const TextModel& base, const TextModel& candidate, ThreadPool& pool,
                                std::string_view text, const std::string& name,
                                const KlOptions& options, const ProgressFn& progress) {
  FPTQ_CHECK(
      base.logits != nullptr && candidate.logits != nullptr && base.encode && candidate.encode,
      "two models and their tokenizers");
  FPTQ_TRY(const std::size_t context, kl_context(base, candidate, options));
  FPTQ_TRY(const DocumentSet set,
           make_documents(Protocol::kLlamaCpp, options.documents, text, name));
  FPTQ_TRY(const std::vector<TokenId> stream,
           encode_for_both(base, candidate, set.documents.front().text));
  std::vector<Window> windows = plan_windows(Protocol::kLlamaCpp, stream.size(), context);
  if (windows.empty()) {
    return Error{Error::Kind::kFormat, name + ": KL divergence: expected at least " +
                                           std::to_string(context) + " tokens (one window), got " +
                                           std::to_string(stream.size()) +
                                           ". Use a longer text or a smaller context (--ctx)"};
  }
  if (options.max_windows > 0 && windows.size() > options.max_windows) {
    windows.resize(options.max_windows);
  }

  Comparer comparer(*base.logits, *candidate.logits, pool, options.on_scored != nullptr);
  DivergenceCollector collector;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const Window& window = windows[w];
    collector.begin_window();
    const auto known = options.finished.find(w);
    if (known != options.finished.end() && known->second.size() == window.scored()) {
      for (const TokenDivergence& position : known->second) collector.add(position);
    } else {
      const std::vector<TokenId> tokens =
          window_tokens(Protocol::kLlamaCpp, window, stream, base.block_start);
      FPTQ_TRY(const Comparer::Outcome outcome, comparer.compare(tokens, window.first_scored));
      for (const TokenDivergence& position : outcome.positions) collector.add(position);
      if (options.on_compared) FPTQ_TRY_VOID(options.on_compared(w, outcome.positions));
      if (options.on_scored) FPTQ_TRY_VOID(options.on_scored(w, outcome.base, outcome.candidate));
    }
    if (!report_progress(progress, "KL divergence", w + 1, windows.size())) {
      return Error{Error::Kind::kInterrupted, "KL divergence: interrupted"};
    }
  }
  KlDivergence result = collector.finish();
  result.context = context;
  return result;
}

}  // namespace fptq::eval
