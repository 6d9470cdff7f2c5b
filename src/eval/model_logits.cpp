#include "eval/model_logits.h"

#include <utility>

namespace fptq::eval {

Status ModelLogits::begin(std::size_t total_length) {
  total_length_ = total_length;
  if (cache_ && cache_->capacity() >= total_length) {
    cache_->truncate(0);
    return {};
  }
  cache_.reset();  // before the larger one is allocated
  FPTQ_TRY(model::KvCache cache, model_->new_cache(total_length, kv_));
  cache_.emplace(std::move(cache));
  return {};
}

Status ModelLogits::append(std::span<const TokenId> ids, std::span<float> logits) {
  const model::SequenceInput input = {
      ids, &*cache_, logits.empty() ? model::LogitsWanted::kNone : model::LogitsWanted::kAll,
      total_length_};
  return model_->forward({&input, 1}, logits);
}

}  // namespace fptq::eval
