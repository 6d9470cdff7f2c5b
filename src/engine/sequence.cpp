#include "engine/sequence.h"

#include <algorithm>

#include "base/check.h"

namespace fptq::engine {
namespace {

bool keys_depend_on_length(const model::LlamaModel& model) {
  return model.config().rope.kind == model::RopeKind::kDynamic;
}

}  // namespace

std::size_t CachedIds::common_prefix(std::span<const std::int32_t> prompt,
                                     const model::LlamaModel& model) const {
  if (keys_depend_on_length(model)) return 0;
  const std::size_t longest = std::min(ids.size(), prompt.size() - 1);
  std::size_t common = 0;
  while (common < longest && ids[common] == prompt[common]) ++common;
  return common;
}

void CachedIds::truncate(std::size_t length) {
  cache.truncate(length);
  ids.resize(length);
}

Sequence::Sequence(const model::LlamaModel& model, const text::Tokenizer& tokenizer,
                   CachedIds& cached, GenerationRequest request, TextFn on_text)
    : cached_(&cached),
      request_(std::move(request)),
      sampler_(request_.sampling, model.isa()),
      output_(tokenizer, request_.stop_strings, std::move(on_text)),
      drafter_(keys_depend_on_length(model) ? 0 : request_.lookup),
      vocabulary_(model.config().vocab_size),
      history_(request_.prompt) {
  cached_->truncate(cached_->common_prefix(request_.prompt, model));
  drafter_.push_prompt(request_.prompt);
  result_.timings.prompt_tokens = request_.prompt.size();
  result_.timings.reused_tokens = cached_->ids.size();
}

Result<Sequence> Sequence::start(const model::LlamaModel& model, const text::Tokenizer& tokenizer,
                                 CachedIds& cached, GenerationRequest request, TextFn on_text) {
  Sequence sequence(model, tokenizer, cached, std::move(request), std::move(on_text));
  FPTQ_TRY_VOID(sequence.output_.begin(sequence.request_.prompt));
  return sequence;
}

model::SequenceInput Sequence::next_input(std::size_t most) {
  FPTQ_CHECK(!finished_ && most > 0, "there is something to compute");
  const std::size_t begin = cached_->ids.size();
  if (in_prompt()) {
    const auto rest = std::span(request_.prompt).subspan(begin);
    const auto part = rest.first(std::min(most, rest.size()));
    input_.assign(part.begin(), part.end());
    wanted_ = part.size() == rest.size() ? model::LogitsWanted::kLast : model::LogitsWanted::kNone;
    return {.ids = input_,
            .cache = &cached_->cache,
            .logits = wanted_,
            .total_length = request_.prompt.size()};
  }
  // What does not fit, or is not wanted any more, would be computed for nothing.
  const std::size_t room =
      std::min(cached_->cache.capacity() - begin, request_.max_tokens - result_.ids.size());
  const auto draft = drafter_.draft(room - 1);
  input_.assign(1, history_.back());
  input_.insert(input_.end(), draft.begin(), draft.end());
  wanted_ = model::LogitsWanted::kAll;
  return {.ids = input_, .cache = &cached_->cache, .logits = wanted_};
}

std::size_t Sequence::logits_rows() const {
  if (wanted_ == model::LogitsWanted::kNone) return 0;
  return wanted_ == model::LogitsWanted::kLast ? 1 : input_.size();
}

Status Sequence::advance(std::span<const float> logits) {
  const std::size_t rows = logits_rows();
  FPTQ_CHECK(logits.size() == rows * vocabulary_, "the logits that were asked for");
  cached_->ids.insert(cached_->ids.end(), input_.begin(), input_.end());
  if (rows == 0) return {};
  GenerationTimings& timings = result_.timings;
  if (wanted_ == model::LogitsWanted::kLast) {
    const Clock::time_point now = Clock::now();
    timings.prefill_s = std::chrono::duration<double>(now - phase_start_).count();
    phase_start_ = now;
    if (request_.max_tokens == 0) return finish(FinishReason::kLength);
  } else {
    ++timings.decode_passes;
    timings.drafted_tokens += rows - 1;
  }
  std::size_t length = cached_->ids.size() - rows;
  for (std::size_t row = 0; row < rows; ++row) {
    ++length;
    FPTQ_TRY(const std::int32_t id,
             sampler_.sample(logits.subspan(row * vocabulary_, vocabulary_), history_));
    FPTQ_TRY_VOID(accept(id, length));
    const bool was_drafted = row + 1 < rows && input_[row + 1] == id;
    if (was_drafted) ++timings.accepted_tokens;
    if (finished_ || !was_drafted) break;
  }
  cached_->truncate(length);
  return {};
}

// Appends a generated token. length: of the cache that it follows, without what is drafted.
Status Sequence::accept(std::int32_t id, std::size_t length) {
  result_.ids.push_back(id);
  history_.push_back(id);
  drafter_.push_generated(id);
  const std::vector<std::int32_t>& stops = request_.stop_ids;
  if (std::find(stops.begin(), stops.end(), id) != stops.end()) {
    return finish(FinishReason::kStopId);
  }
  FPTQ_TRY_VOID(output_.push(id));
  if (output_.stopped()) return finish(FinishReason::kStopString);
  if (output_.cancelled()) return finish(FinishReason::kCancelled);
  if (result_.ids.size() == request_.max_tokens) return finish(FinishReason::kLength);
  if (length == cached_->cache.capacity()) return finish(FinishReason::kContext);
  return {};
}

Status Sequence::finish(FinishReason reason) {
  FPTQ_TRY_VOID(output_.finish());
  result_.finish = reason;
  // The end of the text may complete a stop string, or be refused.
  if (output_.stopped()) result_.finish = FinishReason::kStopString;
  if (output_.cancelled()) result_.finish = FinishReason::kCancelled;
  result_.text = output_.take();
  result_.timings.generated_tokens = result_.ids.size();
  result_.timings.decode_s = std::chrono::duration<double>(Clock::now() - phase_start_).count();
  finished_ = true;
  return {};
}

}  // namespace fptq::engine
