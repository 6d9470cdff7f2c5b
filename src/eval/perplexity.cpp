#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "eval/softmax.h"
#include "eval/statistics.h"

namespace fptq::eval {
namespace {

// A document as tokens, with its windows.
struct TokenStream {
  std::vector<TokenId> tokens;
  std::vector<Window> windows;
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

// Scores windows one after the other and adds up.
class Scorer {
 public:
  Scorer(LogitsSource& source, ThreadPool& pool)
      : reader_(source), pool_(&pool), vocabulary_(source.vocabulary()) {}

  // Adds the tokens of one window; returns the sum of their negative log-likelihoods.
  Result<double> add_window(std::span<const TokenId> tokens, std::size_t first_scored) {
    FPTQ_TRY_VOID(reader_.open(tokens, first_scored));
    double sum = 0.0;
    for (std::size_t i = first_scored; i < tokens.size();) {
      const std::size_t rows = std::min(reader_.rows_at_a_time(), tokens.size() - i);
      FPTQ_TRY(const std::span<const float> logits, reader_.read(rows));
      nll_.resize(rows);
      pool_->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
          nll_[r] =
              negative_log_likelihood(logits.subspan(r * vocabulary_, vocabulary_), tokens[i + r]);
        }
      });
      for (std::size_t r = 0; r < rows; ++r) {
        if (std::isnan(nll_[r])) {
          return Error{Error::Kind::kFormat, "logits of position " + std::to_string(i + r - 1) +
                                                 " of a window: expected finite values, got "
                                                 "infinity or NaN. Are the weights damaged?"};
        }
        sum += nll_[r];
        moments_.add(nll_[r]);
      }
      i += rows;
    }
    return sum;
  }

  [[nodiscard]] const RunningMoments& moments() const { return moments_; }

 private:
  WindowReader reader_;
  ThreadPool* pool_;
  std::size_t vocabulary_;
  std::vector<double> nll_;
  RunningMoments moments_;
};

void finish(Perplexity& result, const DocumentSet& set, const RunningMoments& moments) {
  for (const double nll : result.window_nll) result.nll += nll;
  result.tokens = moments.count();
  if (result.protocol != Protocol::kLmEval) {
    result.value = std::exp(result.nll / static_cast<double>(result.tokens));
    if (result.tokens >= 2) result.standard_error = result.value * moments.standard_error();
    return;
  }
  std::size_t words = 0;
  std::size_t bytes = 0;
  for (const Document& document : set.documents) {
    words += document.words;
    bytes += document.bytes;
  }
  const double nll_per_byte = result.nll / static_cast<double>(bytes);
  result.value = std::exp(result.nll / static_cast<double>(words));
  result.words = words;
  result.bytes = bytes;
  result.byte_perplexity = std::exp(nll_per_byte);
  result.bits_per_byte = nll_per_byte / std::log(2.0);
}

}  // namespace

Result<Perplexity> measure_perplexity(const TextModel& model, ThreadPool& pool,
                                      std::string_view text, const std::string& name,
                                      const PerplexityOptions& options,
                                      const ProgressFn& progress) {
  FPTQ_CHECK(model.logits != nullptr && model.encode, "a model and its tokenizer");
  const Protocol protocol = options.protocol;
  Perplexity result;
  result.protocol = protocol;
  FPTQ_TRY(result.context, choose_context(model, options));
  FPTQ_TRY(const DocumentSet set, make_documents(protocol, options.documents, text, name));
  result.documents = set.mode;

  std::vector<TokenStream> streams;
  std::uint64_t windows = 0;
  std::size_t text_tokens = 0;
  for (const Document& document : set.documents) {
    FPTQ_TRY(TokenStream stream, make_stream(model, protocol, document.text, result.context));
    windows += stream.windows.size();
    text_tokens += stream.tokens.size();
    streams.push_back(std::move(stream));
  }
  if (windows == 0) return too_short(name, protocol, result.context, text_tokens);
  // Words and bytes would no longer belong to the tokens that are scored.
  if (options.max_windows > 0 && protocol == Protocol::kLmEval && options.max_windows < windows) {
    return Error{Error::Kind::kInvalidArgument,
                 "windows: expected all of them for lm-eval, which counts the words of the whole "
                 "text, got a limit of " +
                     std::to_string(options.max_windows)};
  }
  if (options.max_windows > 0) windows = std::min<std::uint64_t>(windows, options.max_windows);

  Scorer scorer(*model.logits, pool);
  const std::string stage = "perplexity (" + std::string(protocol_name(protocol)) + ")";
  for (const TokenStream& stream : streams) {
    for (const Window& window : stream.windows) {
      if (result.window_nll.size() == windows) break;
      const std::vector<TokenId> tokens =
          window_tokens(protocol, window, stream.tokens, model.block_start);
      FPTQ_TRY(const double nll, scorer.add_window(tokens, window.first_scored));
      result.window_nll.push_back(nll);
      if (!report_progress(progress, stage, result.window_nll.size(), windows)) {
        return Error{Error::Kind::kInterrupted, stage + ": interrupted"};
      }
    }
  }
  finish(result, set, scorer.moments());
  return result;
}

}  // namespace fptq::eval
