// Explaining what recipes do to tiny models.

#include "eval/explain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "quantize/pipeline.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::eval {
namespace {

using Checkpoint = std::shared_ptr<const io::Checkpoint>;

class Explain : public testing::TemporaryDirectoryTest {
 protected:
  Checkpoint quantized(const Checkpoint& base, const std::string& recipe,
                       const std::string& overrides = "") {
    ThreadPool pool(2);
    quantize::QuantizeOptions options;
    options.output = root_ / ("out" + std::to_string(count_++));
    options.pool = &pool;
    auto how = *quantize::builtin_recipe(recipe);
    if (!overrides.empty()) how = *quantize::parse_recipe(overrides, "recipe");
    const auto report = quantize::quantize_checkpoint(how, *base, options);
    EXPECT_TRUE(report) << report.error().message;
    return *io::open_checkpoint(options.output);
  }

  static Result<Explanation> explain(const Checkpoint& base, const Checkpoint& candidate,
                                     ExplainOptions options = {}) {
    ThreadPool pool(2);
    options.pool = &pool;
    options.context = 32;
    options.max_windows = 3;
    const EncodeFn encode = [](std::string_view text) -> Result<std::vector<TokenId>> {
      std::vector<TokenId> ids;
      for (const char c : text) ids.push_back(c);
      return ids;
    };
    std::string text;
    for (int i = 0; i < 120; ++i) text += static_cast<char>('a' + (i * i) % 26);
    return explain_divergence(base, candidate, {text, "text", encode, encode, TokenId{1}}, options);
  }

  static Checkpoint tiny(bool tied = true) {
    return testing::memory_checkpoint(testing::make_tiny_model({.tied = tied}));
  }

  static void expect_exact_sums(const Explanation& e) {
    double forward = 0;
    double reverse = 0;
    double mean = 0;
    for (const BudgetShare& share : e.budget) {
      forward += share.forward;
      reverse += share.reverse;
      mean += share.mean;
    }
    EXPECT_EQ(forward, e.total);
    EXPECT_EQ(reverse, e.total);
    EXPECT_EQ(mean, e.total);
    double parts = e.interaction;
    for (const PartDivergence& part : e.parts) parts += part.nats;
    if (!e.parts.empty()) {
      EXPECT_EQ(parts, e.total);
    }
  }

  static std::vector<std::string> groups(const Explanation& e) {
    std::vector<std::string> names;
    for (const BudgetShare& share : e.budget) names.push_back(share.group);
    return names;
  }

  int count_ = 0;
};

TEST_F(Explain, PartsAddUpToTheTotalExactly) {
  for (const bool tied : {true, false}) {
    for (const char* recipe : {"rtn", "int8", "nf4"}) {
      const Checkpoint base = tiny(tied);
      ExplainOptions options;
      options.kv = model::KvType::kInt8;
      const auto e = explain(base, quantized(base, recipe), options);
      ASSERT_TRUE(e) << recipe << ": " << e.error().message;
      EXPECT_GT(e->total, 0);
      EXPECT_EQ(e->noise_floor, 0);
      EXPECT_EQ(e->per, ExplainPer::kLinear);
      EXPECT_EQ(e->parts.size(), 2U * 7 + 3);
      EXPECT_EQ(e->windows, 3U);
      EXPECT_EQ(e->tokens, 3U * 15);
      EXPECT_TRUE(e->notes.empty());
      expect_exact_sums(*e);
    }
  }
}

TEST_F(Explain, OfTheBaseItselfIsZero) {
  const Checkpoint base = tiny();
  const auto e = explain(base, base);
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->total, 0);
  EXPECT_EQ(e->interaction, 0);
  EXPECT_EQ(groups(*e), (std::vector<std::string>{"embedding", "weights", "classifier"}));
  for (const PartDivergence& part : e->parts) EXPECT_EQ(part.nats, 0) << part.name;
  for (const BudgetShare& share : e->budget) EXPECT_EQ(share.mean, 0) << share.group;
}

TEST_F(Explain, FindsTheLinearThatIsDamaged) {
  testing::TinyModel damaged = testing::make_tiny_model();
  Tensor* weight = damaged.find("model.layers.1.mlp.down_proj.weight");
  ASSERT_NE(weight, nullptr);
  *weight = testing::with_element(*weight, 100, 30.0F);
  const Checkpoint base = tiny();
  const auto e = explain(base, quantized(testing::memory_checkpoint(std::move(damaged)), "rtn"));
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->parts.front().name, "model.layers.1.mlp.down_proj");
  EXPECT_EQ(e->parts.front().scheme, "w4g32-a8t");
  const auto worst = std::max_element(e->parts.begin(), e->parts.end(),
                                      [](const auto& a, const auto& b) { return a.nats < b.nats; });
  EXPECT_EQ(worst->name, "model.layers.1.mlp.down_proj");
  // [64, 96] in groups of 32: 3072 bytes of codes, 3 * 64 scales of 2 bytes and zero points, and
  // the shape; 8 bits take 64 * (96 + 2).
  EXPECT_EQ(worst->bytes, 3072U + 384 + 192 + 16);
  EXPECT_EQ(worst->bytes_to_w8c, 6272 - 3664);
  EXPECT_DOUBLE_EQ(*worst->nats_per_mb, worst->nats / (2608 / 1e6));
}

TEST_F(Explain, LooksAtBlocksWhereNormsChanged) {
  testing::TinyModel equalized = testing::make_tiny_model();
  Tensor* norm = equalized.find("model.layers.0.input_layernorm.weight");
  *norm = testing::with_element(*norm, 3, 0.5F);
  const auto e = explain(tiny(), testing::memory_checkpoint(std::move(equalized)));
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->per, ExplainPer::kBlock);
  EXPECT_EQ(e->parts.size(), 4U);
  ASSERT_EQ(e->notes.size(), 1U);
  EXPECT_NE(e->notes[0].find("norms of the candidate differ"), std::string::npos);
  EXPECT_GT(e->total, 0);
  for (const PartDivergence& part : e->parts) {
    EXPECT_EQ(part.nats, part.name == "model.layers.0" ? e->total : 0.0) << part.name;
  }
  expect_exact_sums(*e);
}

TEST_F(Explain, KeepsWeightsTogetherWhereTheBasisChanged) {
  const Checkpoint other = testing::memory_checkpoint(testing::make_tiny_model({.seed = 9}));
  const auto e = explain(tiny(), quantized(other, "rtn"));
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->per, ExplainPer::kNone);
  EXPECT_EQ(groups(*e), (std::vector<std::string>{"weights", "activations"}));
  EXPECT_TRUE(e->parts.empty());
  EXPECT_TRUE(to_json(*e)["interaction"].is_null());
  ASSERT_EQ(e->notes.size(), 1U);
  expect_exact_sums(*e);
}

TEST_F(Explain, GivesTheSameNumbersWithoutRoomForTheBasesLogits) {
  const Checkpoint base = tiny();
  const Checkpoint candidate = quantized(base, "rtn");
  ExplainOptions none;
  none.cache_bytes = 0;
  EXPECT_EQ(to_json(*explain(base, candidate)), to_json(*explain(base, candidate, none)));
}

TEST_F(Explain, RefusesWhatItCannotCompare) {
  const Checkpoint base = tiny();
  const Checkpoint candidate = quantized(base, "rtn");
  const auto swapped = explain(candidate, base);
  ASSERT_FALSE(swapped);
  EXPECT_EQ(swapped.error().kind, Error::Kind::kUnsupported);
  ExplainOptions stopped;
  stopped.progress = [](const ProgressUpdate&) { return false; };
  EXPECT_EQ(explain(base, candidate, stopped).error().kind, Error::Kind::kInterrupted);
  EXPECT_EQ(parse_explain_per("word").error().message,
            "--per \"word\": expected auto, linear, block or none");
}

}  // namespace
}  // namespace fptq::eval
