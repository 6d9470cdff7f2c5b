// What tests of generation start from: a tiny model with its tokenizer.

#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "engine/session.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_tokenizer.h"

namespace fptq::engine {

using Ids = std::vector<std::int32_t>;

class TinyModelTest : public ::testing::Test {
 protected:
  void SetUp() override { load({}); }

  void load(const testing::TinyOptions& options) { load_model(testing::make_tiny_model(options)); }

  void load_model(testing::TinyModel tiny) {
    auto tokenizer = text::Tokenizer::from_json(testing::tiny_tokenizer_json(320), "tiny");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    tokenizer_.emplace(*std::move(tokenizer));
    auto model =
        model::LlamaModel::load(testing::memory_checkpoint(std::move(tiny)), {.pool = &pool_});
    ASSERT_TRUE(model) << model.error().message;
    model_.emplace(*std::move(model));
  }

  // A model that says the bytes of `cycle`, which all differ, again and again: its blocks add
  // nothing, and the classifier's row of an id is the embedding of the id before it.
  void load_cycle(std::string_view cycle) {
    testing::TinyModel tiny = testing::make_tiny_model({.tied = false});
    for (auto& [name, tensor] : tiny.tensors) {
      if (name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight")) {
        tensor = testing::f32_tensor(tensor.shape(), std::vector<float>(tensor.elements(), 0.0f));
      }
    }
    const std::vector<float> embedding = tiny.find("model.embed_tokens.weight")->to_f32();
    Tensor& classifier = *tiny.find("lm_head.weight");
    std::vector<float> rows(classifier.elements(), 0.0f);
    const std::size_t width = classifier.cols();
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      const auto before = static_cast<std::size_t>(byte_id(cycle[i]));
      const auto after = static_cast<std::size_t>(byte_id(cycle[(i + 1) % cycle.size()]));
      for (std::size_t k = 0; k < width; ++k) {
        rows[after * width + k] = embedding[before * width + k];
      }
    }
    classifier = testing::f32_tensor(classifier.shape(), rows);
    load_model(std::move(tiny));
  }

  static std::int32_t byte_id(char byte) {
    return static_cast<std::int32_t>(testing::kTinyFirstByte) + static_cast<unsigned char>(byte);
  }
  static Ids byte_ids(std::string_view text) {
    Ids ids;
    for (const char byte : text) ids.push_back(byte_id(byte));
    return ids;
  }

  Session session(std::size_t capacity) {
    auto session = Session::create(*model_, *tokenizer_, capacity);
    EXPECT_TRUE(session) << session.error().message;
    return *std::move(session);
  }

  // From a session of its own.
  Generation generate(const GenerationRequest& request, std::size_t capacity = 64) {
    auto result = session(capacity).generate(request);
    EXPECT_TRUE(result) << result.error().message;
    return *std::move(result);
  }

  ThreadPool pool_{1};
  std::optional<text::Tokenizer> tokenizer_;
  std::optional<model::LlamaModel> model_;
};

}  // namespace fptq::engine
