// Loading a real checkpoint and running it, for golden tests.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "io/checkpoint.h"
#include "model/llama_model.h"

namespace fptq::testing {

inline ThreadPool& golden_pool() {
  static ThreadPool pool(2);
  return pool;
}

// The model, or nothing and a failed test with the error's text.
inline std::optional<model::LlamaModel> load_model(
    const std::filesystem::path& path,
    model::ActivationMode activations = model::ActivationMode::kAsStored) {
  Result<std::unique_ptr<io::Checkpoint>> checkpoint = io::open_checkpoint(path);
  if (!checkpoint) {
    ADD_FAILURE() << checkpoint.error().message;
    return std::nullopt;
  }
  Result<model::LlamaModel> model = model::LlamaModel::load(
      std::move(*checkpoint), {.pool = &golden_pool(), .activations = activations});
  if (!model) {
    ADD_FAILURE() << model.error().message;
    return std::nullopt;
  }
  return *std::move(model);
}

// Logits [T, V] of every position.
inline std::vector<float> all_logits(model::LlamaModel& model, std::span<const std::int32_t> ids,
                                     const model::Tap& tap = {}) {
  std::vector<float> logits(ids.size() * model.config().vocab_size);
  Result<model::KvCache> cache = model.new_cache(ids.size());
  if (!cache) {
    ADD_FAILURE() << cache.error().message;
    return logits;
  }
  const model::SequenceInput input{
      .ids = ids, .cache = &*cache, .logits = model::LogitsWanted::kAll};
  const Status status = model.forward(std::span(&input, 1), logits, tap);
  if (!status) ADD_FAILURE() << status.error().message;
  return logits;
}

inline float max_abs(std::span<const float> values) {
  float largest = 0.0f;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// max |actual - expected|; infinite for different lengths and where a value is NaN.
inline float max_difference(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return INFINITY;
  float largest = 0.0f;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const float difference = std::abs(actual[i] - expected[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
  }
  return largest;
}

}  // namespace fptq::testing
