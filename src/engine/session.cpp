#include "engine/session.h"

#include <algorithm>
#include <string>

namespace fptq::engine {

Result<Session> Session::create(model::LlamaModel& model, const text::Tokenizer& tokenizer,
                                std::size_t capacity, model::KvType kv) {
  if (capacity == 0) {
    return Error{Error::Kind::kInvalidArgument, "--ctx: expected at least 1, got 0"};
  }
  FPTQ_TRY(model::KvCache cache, model.new_cache(capacity, kv));
  return Session(model, tokenizer, std::move(cache));
}

Result<Generation> Session::generate(const GenerationRequest& request, const TextFn& on_text,
                                     const ProgressFn& progress) {
  FPTQ_TRY_VOID(check_request(request, capacity(), model_->config().vocab_size));
  FPTQ_TRY(Sequence sequence, Sequence::start(*model_, *tokenizer_, cached_, request, on_text));
  while (!sequence.finished()) {
    const bool in_prompt = sequence.in_prompt();
    const model::SequenceInput input = sequence.next_input(model::kPassTokens);
    logits_.resize(sequence.logits_rows() * model_->config().vocab_size);
    FPTQ_TRY_VOID(model_->forward(std::span(&input, 1), logits_));
    FPTQ_TRY_VOID(sequence.advance(logits_));
    const std::size_t read = std::min(cached_.ids.size(), request.prompt.size());
    if (in_prompt &&
        !report_progress(progress, "reading the prompt", read, request.prompt.size())) {
      return Error{Error::Kind::kInterrupted, "prompt: interrupted after " + std::to_string(read) +
                                                  " of " + std::to_string(request.prompt.size()) +
                                                  " tokens"};
    }
  }
  return sequence.take();
}

}  // namespace fptq::engine
