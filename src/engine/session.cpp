#include "engine/session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/stop_strings.h"
#include "text/stream_decoder.h"

namespace fptq::engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Tokens of a prompt between two looks at whether to go on. The model cuts its input into passes of
// that many as well, so that this costs nothing.
constexpr std::size_t kPassTokens = 512;

// Tokens of the prompt's end that the decoder sees first: more than any character has bytes.
constexpr std::size_t kDecoderContext = 16;

// Text of generated ids, as it becomes certain.
class TextOutput {
 public:
  TextOutput(const text::Tokenizer& tokenizer, const GenerationRequest& request,
             const TextFn& on_text)
      : decoder_(tokenizer), stops_(request.stop_strings), on_text_(on_text) {}

  // What stands before the first generated token decides whether its space is kept.
  Status begin(std::span<const std::int32_t> prompt) {
    const std::size_t context = std::min(prompt.size(), kDecoderContext);
    for (const std::int32_t id : prompt.last(context)) {
      FPTQ_TRY(const std::string ignored, decoder_.push(id));
    }
    return {};
  }

  Status push(std::int32_t id) {
    FPTQ_TRY(const std::string piece, decoder_.push(id));
    emit(stops_.push(piece));
    return {};
  }

  Status finish() {
    if (stops_.stopped() || cancelled_) return {};
    FPTQ_TRY(const std::string rest, decoder_.flush());
    emit(stops_.push(rest));
    emit(stops_.flush());
    return {};
  }

  [[nodiscard]] bool stopped() const { return stops_.stopped(); }
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void emit(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    if (on_text_ && !on_text_(piece)) cancelled_ = true;
  }

  text::StreamDecoder decoder_;
  StopStrings stops_;
  const TextFn& on_text_;
  std::string text_;
  bool cancelled_ = false;
};

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopId:
      return "stop";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

Result<Session> Session::create(model::LlamaModel& model, const text::Tokenizer& tokenizer,
                                std::size_t capacity, model::KvType kv) {
  if (capacity == 0) {
    return Error{Error::Kind::kInvalidArgument, "--ctx: expected at least 1, got 0"};
  }
  FPTQ_TRY(model::KvCache cache, model.new_cache(capacity, kv));
  return Session(model, tokenizer, std::move(cache));
}

std::size_t Session::keep_common_prefix(std::span<const std::int32_t> prompt) {
  const bool reusable = model_->config().rope.kind != model::RopeKind::kDynamic;
  // The prompt's last token is always computed: its logits are needed.
  const std::size_t longest = reusable ? std::min(cached_.size(), prompt.size() - 1) : 0;
  std::size_t common = 0;
  while (common < longest && cached_[common] == prompt[common]) ++common;
  cache_.truncate(common);
  cached_.resize(common);
  return common;
}

Status Session::advance(std::span<const std::int32_t> ids, std::size_t total_length,
                        model::LogitsWanted logits) {
  logits_.resize(logits == model::LogitsWanted::kNone ? 0 : model_->config().vocab_size);
  const model::SequenceInput input{
      .ids = ids, .cache = &cache_, .logits = logits, .total_length = total_length};
  FPTQ_TRY_VOID(model_->forward(std::span(&input, 1), logits_));
  cached_.insert(cached_.end(), ids.begin(), ids.end());
  return {};
}

Status Session::prefill(std::span<const std::int32_t> prompt, const ProgressFn& progress) {
  while (cached_.size() < prompt.size()) {
    const std::span<const std::int32_t> rest = prompt.subspan(cached_.size());
    const std::span<const std::int32_t> pass = rest.first(std::min(kPassTokens, rest.size()));
    const bool is_last = pass.size() == rest.size();
    FPTQ_TRY_VOID(advance(pass, prompt.size(),
                          is_last ? model::LogitsWanted::kLast : model::LogitsWanted::kNone));
    if (!report_progress(progress, "reading the prompt", cached_.size(), prompt.size())) {
      return Error{Error::Kind::kInterrupted, "prompt: interrupted after " +
                                                  std::to_string(cached_.size()) + " of " +
                                                  std::to_string(prompt.size()) + " tokens"};
    }
  }
  return {};
}

Result<Generation> Session::generate(const GenerationRequest& request, const TextFn& on_text,
                                     const ProgressFn& progress) {
  FPTQ_TRY_VOID(check_sampling_options(request.sampling));
  const std::vector<std::int32_t>& prompt = request.prompt;
  if (prompt.empty()) {
    return Error{Error::Kind::kInvalidArgument, "prompt: expected at least 1 token, got none"};
  }
  if (prompt.size() > capacity()) {
    return Error{Error::Kind::kLimit, "prompt: expected at most " + std::to_string(capacity()) +
                                          " tokens (--ctx), got " + std::to_string(prompt.size()) +
                                          ". Raise --ctx or shorten the prompt"};
  }
  Generation result;
  result.timings.prompt_tokens = prompt.size();
  const Clock::time_point prefill_start = Clock::now();
  const std::size_t reused = keep_common_prefix(prompt);
  result.timings.reused_tokens = reused;
  FPTQ_TRY_VOID(prefill(prompt, progress));
  result.timings.prefill_s = seconds_since(prefill_start);

  const Clock::time_point decode_start = Clock::now();
  Sampler sampler(request.sampling);
  TextOutput output(*tokenizer_, request, on_text);
  FPTQ_TRY_VOID(output.begin(prompt));
  std::vector<std::int32_t> history = prompt;
  while (result.ids.size() < request.max_tokens) {
    FPTQ_TRY(const std::int32_t id, sampler.sample(logits_, history));
    result.ids.push_back(id);
    history.push_back(id);
    if (std::find(request.stop_ids.begin(), request.stop_ids.end(), id) != request.stop_ids.end()) {
      result.finish = FinishReason::kStopId;
      break;
    }
    FPTQ_TRY_VOID(output.push(id));
    if (output.stopped() || output.cancelled()) break;
    if (result.ids.size() == request.max_tokens) break;
    if (cache_.length() == cache_.capacity()) {
      result.finish = FinishReason::kContext;
      break;
    }
    FPTQ_TRY_VOID(advance(std::span(&id, 1), history.size(), model::LogitsWanted::kLast));
  }
  FPTQ_TRY_VOID(output.finish());
  if (output.stopped()) result.finish = FinishReason::kStopString;
  if (output.cancelled()) result.finish = FinishReason::kCancelled;
  result.text = output.take();
  result.timings.generated_tokens = result.ids.size();
  result.timings.decode_s = seconds_since(decode_start);
  return result;
}

}  // namespace fptq::engine
