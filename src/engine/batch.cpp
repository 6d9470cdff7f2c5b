#include "engine/batch.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"

namespace fptq::engine {
namespace {

// Keeps a pass of many decoding sequences from stopping all prompts.
constexpr std::size_t kLeastPromptTokens = 32;

}  // namespace

Result<Batch> Batch::create(model::LlamaModel& model, const text::Tokenizer& tokenizer,
                            const BatchOptions& options) {
  if (options.sequences == 0 || options.capacity == 0) {
    return Error{Error::Kind::kInvalidArgument,
                 "batch: expected at least 1 sequence of at least 1 position, got " +
                     std::to_string(options.sequences) + " of " + std::to_string(options.capacity)};
  }
  Batch batch(model, tokenizer, options.capacity);
  for (std::size_t i = 0; i < options.sequences; ++i) {
    FPTQ_TRY(model::KvCache cache, model.new_cache(options.capacity, options.kv));
    batch.slots_.push_back(std::make_unique<Slot>(std::move(cache)));
  }
  return batch;
}

// The one that shares most with the prompt; of equals the one that has not been used for longest.
Batch::Slot& Batch::best_free_slot(std::span<const std::int32_t> prompt) {
  Slot* best = nullptr;
  std::size_t best_common = 0;
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (slot->sequence) continue;
    const std::size_t common = slot->cached.common_prefix(prompt, *model_);
    if (best == nullptr || common > best_common || (common == best_common && slot->id < best->id)) {
      best = slot.get();
      best_common = common;
    }
  }
  FPTQ_CHECK(best != nullptr, "the caller has seen a free slot");
  return *best;
}

Result<std::uint64_t> Batch::add(GenerationRequest request, TextFn on_text) {
  FPTQ_TRY_VOID(check_request(request, capacity_, model_->config().vocab_size));
  if (free_sequences() == 0) {
    return Error{Error::Kind::kLimit, "batch: expected a free sequence, got " +
                                          std::to_string(slots_.size()) + " busy ones"};
  }
  Slot& slot = best_free_slot(request.prompt);
  FPTQ_TRY(Sequence sequence, Sequence::start(*model_, *tokenizer_, slot.cached, std::move(request),
                                              std::move(on_text)));
  slot.sequence.emplace(std::move(sequence));
  slot.id = ++last_id_;
  active_.push_back(&slot);
  return slot.id;
}

void Batch::prepare_pass() {
  taking_part_.clear();
  inputs_.clear();
  std::size_t rows = 0;
  std::size_t tokens = 0;
  const auto take = [&](Slot* slot, std::size_t most) {
    taking_part_.push_back(slot);
    inputs_.push_back(slot->sequence->next_input(most));
    rows += slot->sequence->logits_rows();
    tokens += inputs_.back().ids.size();
  };
  for (Slot* slot : active_) {
    if (!slot->sequence->in_prompt()) take(slot, 1);
  }
  const std::size_t end = std::max(model::kPassTokens, tokens + kLeastPromptTokens);
  for (Slot* slot : active_) {
    if (slot->sequence->in_prompt() && tokens < end) take(slot, end - tokens);
  }
  logits_.resize(rows * model_->config().vocab_size);
}

std::vector<Finished> Batch::step() {
  std::vector<Finished> finished;
  if (active_.empty()) return finished;
  prepare_pass();
  const Status pass = model_->forward(inputs_, logits_);
  std::span<const float> logits = logits_;
  for (Slot* slot : taking_part_) {
    Sequence& sequence = *slot->sequence;
    Status status = pass;
    if (pass) {
      const std::size_t count = sequence.logits_rows() * model_->config().vocab_size;
      status = sequence.advance(logits.first(count));
      logits = logits.subspan(count);
    }
    if (!status) {
      finished.push_back({slot->id, status.error()});
    } else if (sequence.finished()) {
      finished.push_back({slot->id, sequence.take()});
    } else {
      continue;
    }
    cancel(slot->id);
  }
  std::sort(finished.begin(), finished.end(),
            [](const Finished& a, const Finished& b) { return a.id < b.id; });
  return finished;
}

void Batch::cancel(std::uint64_t id) {
  std::erase_if(active_, [&](Slot* slot) {
    if (slot->id != id) return false;
    slot->sequence.reset();
    return true;
  });
}

}  // namespace fptq::engine
