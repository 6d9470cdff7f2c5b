// A Llama model as evaluation sees it.

#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "base/result.h"
#include "eval/logits_source.h"
#include "model/kv_cache.h"
#include "model/llama_model.h"

namespace fptq::eval {

// Runs one sequence through a model, with a cache that grows to the longest sequence seen.
class ModelLogits final : public LogitsSource {
 public:
  // The model has to outlive it.
  explicit ModelLogits(model::LlamaModel& model, model::KvType kv = model::KvType::kF32)
      : model_(&model), kv_(kv) {}

  [[nodiscard]] std::size_t vocabulary() const override { return model_->config().vocab_size; }
  [[nodiscard]] Isa isa() const override { return model_->isa(); }
  // Errors: kLimit where the cache does not fit.
  [[nodiscard]] Status begin(std::size_t total_length) override;
  [[nodiscard]] Status append(std::span<const TokenId> ids, std::span<float> logits) override;

 private:
  model::LlamaModel* model_;
  model::KvType kv_;
  std::optional<model::KvCache> cache_;
  std::size_t total_length_ = 0;
};

}  // namespace fptq::eval
