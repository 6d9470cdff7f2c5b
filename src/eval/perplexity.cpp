#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/sha256.h"
#include "eval/logit_row.h"
#include "eval/statistics.h"
#include "ops/exp.h"

namespace fptq::eval {
namespace {

// A document as tokens, with its windows.
struct TokenStream {
  std::vector<TokenId> tokens;
  std::vector<Window> windows;
  std::size_t words = 0;
  std::size_t bytes = 0;
};

// Everything about one protocol that is known before the model runs, and the scores once it has.
struct Plan {
  Perplexity result;
  std::vector<TokenStream> streams;
  std::size_t windows = 0;  // that are scored, of all streams in order
  std::vector<WindowScore> scores;
};

// A window that the model runs, for one or more protocols.
struct Pass {
  struct Use {
    std::size_t plan;
    std::size_t window;
    std::size_t first_scored;
  };
  std::vector<TokenId> tokens;
  std::vector<Use> uses;
};

Result<std::size_t> choose_context(const TextModel& model, const PerplexityOptions& options) {
  if (options.context == 0) return default_context(options.protocol, model.context);
  const std::size_t smallest = smallest_context(options.protocol);
  if (options.context < smallest) {
    return Error{Error::Kind::kInvalidArgument, "context: expected at least " +
                                                    std::to_string(smallest) + " tokens for " +
                                                    std::string(protocol_name(options.protocol)) +
                                                    ", got " + std::to_string(options.context)};
  }
  return options.context;
}

Result<TokenStream> make_stream(const TextModel& model, Protocol protocol, std::string_view text,
                                std::size_t context) {
  TokenStream stream;
  FPTQ_TRY(stream.tokens, model.encode(text));
  for (const TokenId id : stream.tokens) {
    if (id >= 0 && static_cast<std::size_t>(id) < model.logits->vocabulary()) continue;
    return Error{Error::Kind::kFormat,
                 "tokenizer: expected ids below " + std::to_string(model.logits->vocabulary()) +
                     ", the rows of the model's classifier, got " + std::to_string(id) +
                     ". Do tokenizer and weights belong to the same model?"};
  }
  if (protocol == Protocol::kLmEval) {
    if (!model.prefix_token) {
      return Error{Error::Kind::kInvalidArgument,
                   "lm-eval perplexity: expected a tokenizer with a BOS or EOS token to begin a "
                   "text with, got none. Use gptq or llamacpp"};
    }
    stream.tokens.insert(stream.tokens.begin(), *model.prefix_token);
  }
  stream.windows = plan_windows(protocol, stream.tokens.size(), context);
  return stream;
}

Error too_short(const std::string& name, Protocol protocol, std::size_t context,
                std::size_t tokens) {
  // kLmEval scores a text of any length, so only one without a token has no window.
  const std::size_t needed = protocol == Protocol::kLmEval ? 1 : context;
  return Error{Error::Kind::kFormat, name + ": " + std::string(protocol_name(protocol)) +
                                         " perplexity: expected at least " +
                                         std::to_string(needed) + " tokens (one window), got " +
                                         std::to_string(tokens) +
                                         ". Use a longer text or a smaller context (--ctx)"};
}

// Runs windows one after the other.
class Scorer {
 public:
  Scorer(LogitsSource& source, ThreadPool& pool)
      : reader_(source), pool_(&pool), vocabulary_(source.vocabulary()), exp_(source.isa()) {}

  // The negative log-likelihoods of tokens [first_scored, end), valid until the next call.
  Result<std::span<const double>> score(std::span<const TokenId> tokens, std::size_t first_scored) {
    FPTQ_TRY_VOID(reader_.open(tokens, first_scored));
    nll_.resize(tokens.size() - first_scored);
    for (std::size_t i = first_scored; i < tokens.size();) {
      const std::size_t rows = std::min(reader_.rows_at_a_time(), tokens.size() - i);
      FPTQ_TRY(const std::span<const float> logits, reader_.read(rows));
      const std::span<double> nll = std::span(nll_).subspan(i - first_scored, rows);
      pool_->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
          nll[r] = negative_log_likelihood(logits.subspan(r * vocabulary_, vocabulary_),
                                           tokens[i + r], exp_);
        }
      });
      for (std::size_t r = 0; r < rows; ++r) {
        if (!std::isnan(nll[r])) continue;
        return Error{Error::Kind::kFormat, "logits of position " + std::to_string(i + r - 1) +
                                               " of a window: expected finite values, got "
                                               "infinity or NaN. Are the weights damaged?"};
      }
      i += rows;
    }
    return std::span<const double>(nll_);
  }

 private:
  WindowReader reader_;
  ThreadPool* pool_;
  std::size_t vocabulary_;
  ops::Exp exp_;
  std::vector<double> nll_;
};

Result<Plan> make_plan(const TextModel& model, std::string_view text, const std::string& name,
                       const PerplexityOptions& options) {
  const Protocol protocol = options.protocol;
  Plan plan;
  plan.result.protocol = protocol;
  FPTQ_TRY(plan.result.context, choose_context(model, options));
  FPTQ_TRY(const DocumentSet set, make_documents(protocol, options.documents, text, name));
  plan.result.documents = set.mode;

  std::size_t text_tokens = 0;
  for (const Document& document : set.documents) {
    FPTQ_TRY(TokenStream stream, make_stream(model, protocol, document.text, plan.result.context));
    stream.words = document.words;
    stream.bytes = document.bytes;
    plan.windows += stream.windows.size();
    text_tokens += stream.tokens.size();
    plan.streams.push_back(std::move(stream));
  }
  if (plan.windows == 0) return too_short(name, protocol, plan.result.context, text_tokens);
  if (options.max_windows == 0 || options.max_windows >= plan.windows) return plan;
  // Words and bytes would no longer belong to the tokens that are scored.
  if (protocol == Protocol::kLmEval) {
    return Error{Error::Kind::kInvalidArgument,
                 "windows: expected all of them for lm-eval, which counts the words of the whole "
                 "text, got a limit of " +
                     std::to_string(options.max_windows)};
  }
  plan.windows = options.max_windows;
  plan.result.all_windows = false;
  return plan;
}

// Adds a plan's windows to what the model has to run.
void add_passes(const TextModel& model, std::size_t index, Plan& plan,
                std::map<std::vector<TokenId>, std::size_t>& known, std::vector<Pass>& passes) {
  plan.scores.resize(plan.windows);
  for (const TokenStream& stream : plan.streams) {
    for (const Window& window : stream.windows) {
      const std::size_t position = plan.result.window_tokens.size();
      if (position == plan.windows) return;
      std::vector<TokenId> tokens =
          window_tokens(plan.result.protocol, window, stream.tokens, model.block_start);
      if (position == 0) plan.result.bos = model.bos && tokens.front() == *model.bos;
      plan.result.window_tokens.push_back(window.scored());
      const auto [entry, is_new] = known.try_emplace(tokens, passes.size());
      if (is_new) passes.push_back({std::move(tokens), {}});
      passes[entry->second].uses.push_back({index, position, window.first_scored});
    }
  }
}

// Takes what is known of a pass's windows; whether that is all.
bool take_finished(const Pass& pass, const std::vector<PerplexityOptions>& options,
                   std::vector<Plan>& plans) {
  bool has_all = true;
  for (const Pass::Use& use : pass.uses) {
    const auto known = options[use.plan].finished.find(use.window);
    const std::vector<std::size_t>& tokens = plans[use.plan].result.window_tokens;
    const bool fits = known != options[use.plan].finished.end() &&
                      known->second.moments.count() == tokens[use.window];
    if (fits) plans[use.plan].scores[use.window] = known->second;
    has_all = has_all && fits;
  }
  return has_all;
}

Status run_pass(const Pass& pass, const std::vector<PerplexityOptions>& options, Scorer& scorer,
                std::vector<Plan>& plans) {
  if (take_finished(pass, options, plans)) return {};
  std::size_t first_scored = pass.tokens.size();
  for (const Pass::Use& use : pass.uses) first_scored = std::min(first_scored, use.first_scored);
  FPTQ_TRY(const std::span<const double> nll, scorer.score(pass.tokens, first_scored));
  for (const Pass::Use& use : pass.uses) {
    WindowScore score;
    for (const double value : nll.subspan(use.first_scored - first_scored)) score.add(value);
    plans[use.plan].scores[use.window] = score;
    const PerplexityOptions& how = options[use.plan];
    if (how.on_scored && !how.finished.contains(use.window)) {
      FPTQ_TRY_VOID(how.on_scored(use.window, score));
    }
  }
  return {};
}

// Negative log-likelihood per unit (token or word), over the clusters that are independent.
ClusterRatio ratio_of(const Plan& plan) {
  const Perplexity& result = plan.result;
  std::vector<double> sums;
  std::vector<double> sizes;
  if (result.cluster_unit == ClusterUnit::kDocuments) {
    std::size_t window = 0;
    for (const TokenStream& stream : plan.streams) {
      double nll = 0.0;
      for (std::size_t i = 0; i < stream.windows.size(); ++i) nll += result.window_nll[window++];
      sums.push_back(nll);
      sizes.push_back(static_cast<double>(stream.words));
    }
    return cluster_ratio(sums, sizes);
  }
  const double units = static_cast<double>(result.words.value_or(result.tokens));
  const double per_token = units / static_cast<double>(result.tokens);
  for (std::size_t i = 0; i < result.window_nll.size(); ++i) {
    sums.push_back(result.window_nll[i]);
    sizes.push_back(static_cast<double>(result.window_tokens[i]) * per_token);
  }
  return cluster_ratio(sums, sizes);
}

void add_interval(const Plan& plan, Perplexity& result) {
  const ClusterRatio ratio = ratio_of(plan);
  result.clusters = ratio.clusters;
  if (!ratio.standard_error) return;
  result.cluster_standard_error = result.value * *ratio.standard_error;
  const double factor = std::exp(student_t95(ratio.clusters - 1) * *ratio.standard_error);
  result.interval = Interval{result.value / factor, result.value * factor};
}

Perplexity finish(Plan& plan) {
  Perplexity& result = plan.result;
  RunningMoments moments;
  for (const WindowScore& score : plan.scores) {
    result.window_nll.push_back(score.nll);
    result.nll += score.nll;
    moments.merge(score.moments);
  }
  result.tokens = moments.count();
  if (result.protocol == Protocol::kLmEval) {
    std::size_t words = 0;
    std::size_t bytes = 0;
    for (const TokenStream& stream : plan.streams) {
      words += stream.words;
      bytes += stream.bytes;
    }
    const double nll_per_byte = result.nll / static_cast<double>(bytes);
    result.value = std::exp(result.nll / static_cast<double>(words));
    result.words = words;
    result.bytes = bytes;
    result.byte_perplexity = std::exp(nll_per_byte);
    result.bits_per_byte = nll_per_byte / std::log(2.0);
    if (plan.streams.size() > 1) result.cluster_unit = ClusterUnit::kDocuments;
  } else {
    result.value = std::exp(result.nll / static_cast<double>(result.tokens));
    if (result.tokens >= 2) result.standard_error = result.value * moments.standard_error();
  }
  add_interval(plan, result);
  return std::move(result);
}

// "perplexity (gptq, llamacpp)".
std::string stage_name(const std::vector<PerplexityOptions>& options) {
  std::string names;
  for (const PerplexityOptions& each : options) {
    names += (names.empty() ? "" : ", ") + std::string(protocol_name(each.protocol));
  }
  return "perplexity (" + names + ")";
}

}  // namespace

std::string_view cluster_unit_name(ClusterUnit unit) {
  return unit == ClusterUnit::kWindows ? "windows" : "documents";
}

Result<std::vector<Perplexity>> measure_perplexities(const TextModel& model, ThreadPool& pool,
                                                     std::string_view text, const std::string& name,
                                                     const std::vector<PerplexityOptions>& options,
                                                     const ProgressFn& progress) {
  FPTQ_CHECK(model.logits != nullptr && model.encode, "a model and its tokenizer");
  std::vector<Plan> plans;
  std::map<std::vector<TokenId>, std::size_t> known;
  std::vector<Pass> passes;
  for (const PerplexityOptions& each : options) {
    FPTQ_TRY(Plan plan, make_plan(model, text, name, each));
    add_passes(model, plans.size(), plan, known, passes);
    plans.push_back(std::move(plan));
  }

  Scorer scorer(*model.logits, pool);
  const std::string stage = stage_name(options);
  std::uint64_t done = 0;
  for (const Pass& pass : passes) {
    FPTQ_TRY_VOID(run_pass(pass, options, scorer, plans));
    if (!report_progress(progress, stage, ++done, passes.size())) {
      return Error{Error::Kind::kInterrupted, stage + ": interrupted"};
    }
  }
  const std::string sha256 = sha256_hex(std::as_bytes(std::span(text)));
  std::vector<Perplexity> results;
  for (Plan& plan : plans) {
    results.push_back(finish(plan));
    results.back().text_sha256 = sha256;
  }
  return results;
}

Result<Perplexity> measure_perplexity(const TextModel& model, ThreadPool& pool,
                                      std::string_view text, const std::string& name,
                                      const PerplexityOptions& options,
                                      const ProgressFn& progress) {
  FPTQ_TRY(std::vector<Perplexity> results,
           measure_perplexities(model, pool, text, name, {options}, progress));
  return std::move(results.front());
}

}  // namespace fptq::eval
