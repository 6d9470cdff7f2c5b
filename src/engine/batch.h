// Sequences that generate together: one forward pass computes the next tokens of all.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/generation.h"
#include "engine/sequence.h"
#include "model/llama_model.h"
#include "text/tokenizer.h"

namespace fptq::engine {

struct BatchOptions {
  std::size_t sequences = 1;  // that run at the same time at most, >= 1
  std::size_t capacity = 0;   // positions of each one's cache, >= 1
  model::KvType kv = model::KvType::kF32;
};

// A request that has come to its end.
struct Finished {
  std::uint64_t id;  // as add() returned it
  Result<Generation> generation;
};

// Each request gets exactly the tokens and the text that a Session would give it alone: logits do
// not depend on what else is in a pass, and each sequence has its own cache, sampler and drafts.
//
// A pass takes the next token of every sequence that decodes, and prompts with what is left of
// model::kPassTokens, the oldest first, so that a long prompt delays the others' tokens by a pass
// of bounded length and not by all of it. Caches keep what they hold: a request goes to the free
// one that shares most with its prompt.
//
// Thread safety: none. Receivers of text are called by step() and must not call the batch.
class Batch {
 public:
  // model and tokenizer have to outlive the batch. Errors: kInvalidArgument for an option out of
  // range, kLimit where memory does not suffice.
  [[nodiscard]] static Result<Batch> create(model::LlamaModel& model,
                                            const text::Tokenizer& tokenizer,
                                            const BatchOptions& options);

  // Begins a request; nothing is computed yet. Returns its id, which is never given again.
  // Errors: check_request()'s; kLimit where free_sequences() is 0.
  [[nodiscard]] Result<std::uint64_t> add(GenerationRequest request, TextFn on_text = {});

  // One forward pass; nothing where active_sequences() is 0. Returns what ended with it, in the
  // order of add(). An error ends its request only, except that of the pass itself.
  [[nodiscard]] std::vector<Finished> step();

  // Ends a request without a result. Does nothing for one that has ended.
  void cancel(std::uint64_t id);

  [[nodiscard]] std::size_t active_sequences() const { return active_.size(); }
  [[nodiscard]] std::size_t free_sequences() const { return slots_.size() - active_.size(); }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  struct Slot {
    explicit Slot(model::KvCache cache) : cached{std::move(cache)} {}

    CachedIds cached;
    std::optional<Sequence> sequence = {};  // none: the slot is free
    std::uint64_t id = 0;                   // of the request now, or the last one; 0: none yet
  };

  Batch(model::LlamaModel& model, const text::Tokenizer& tokenizer, std::size_t capacity)
      : model_(&model), tokenizer_(&tokenizer), capacity_(capacity) {}

  [[nodiscard]] Slot& best_free_slot(std::span<const std::int32_t> prompt);
  void prepare_pass();

  model::LlamaModel* model_;
  const text::Tokenizer* tokenizer_;
  std::size_t capacity_;
  std::uint64_t last_id_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;  // sequences point to what is in them
  std::vector<Slot*> active_;                 // in the order of add()
  // The pass under way: which sequences take part, and with what.
  std::vector<Slot*> taking_part_;
  std::vector<model::SequenceInput> inputs_;
  std::vector<float> logits_;  // [rows, V]
};

}  // namespace fptq::engine
