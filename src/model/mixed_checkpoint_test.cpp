#include "model/mixed_checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "model/llama_model.h"
#include "ops/hadamard.h"
#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

using Checkpoint = std::shared_ptr<const io::Checkpoint>;

Checkpoint tiny(std::uint64_t seed, bool tied = true, std::size_t layers = 2) {
  return testing::memory_checkpoint(
      testing::make_tiny_model({.seed = seed, .layers = layers, .tied = tied}));
}

Checkpoint mix(const Checkpoint& base, const Checkpoint& candidate,
               const std::set<std::string>& modules) {
  auto mixed = mix_checkpoints(base, candidate, modules);
  EXPECT_TRUE(mixed) << mixed.error().message;
  return mixed ? *mixed : nullptr;
}

std::vector<float> logits(const Checkpoint& checkpoint) {
  ThreadPool pool(1);
  auto model = LlamaModel::load(checkpoint, {.pool = &pool});
  EXPECT_TRUE(model) << model.error().message;
  const std::vector<std::int32_t> ids = {1, 20, 7, 99, 300};
  auto cache = model->new_cache(ids.size());
  std::vector<float> out(ids.size() * model->config().vocab_size);
  const SequenceInput input{.ids = ids, .cache = &*cache, .logits = LogitsWanted::kAll};
  EXPECT_TRUE(model->forward(std::span(&input, 1), out));
  return out;
}

bool same_tensor(const Checkpoint& a, const Checkpoint& b, const std::string& name) {
  const Tensor x = *a->read(name);
  const Tensor y = *b->read(name);
  return x.bytes().size() == y.bytes().size() &&
         std::memcmp(x.bytes().data(), y.bytes().data(), x.bytes().size()) == 0;
}

TEST(MixedCheckpoint, ComputesWhatItsOnlyPartDoes) {
  for (const bool tied : {true, false}) {
    const Checkpoint base = tiny(1, tied);
    const Checkpoint candidate = tiny(2, !tied);
    const auto names = module_names(*parse_llama_config(base->config(), "base"));
    EXPECT_EQ(logits(mix(base, candidate, {})), logits(base));
    EXPECT_EQ(logits(mix(base, candidate, {names.begin(), names.end()})), logits(candidate));
  }
}

TEST(MixedCheckpoint, TakesTheNamedModulesFromTheCandidate) {
  const Checkpoint base = tiny(1);
  const Checkpoint candidate = tiny(2);
  const Checkpoint mixed = mix(base, candidate, {"model.layers.1.mlp.up_proj", "lm_head"});
  EXPECT_TRUE(same_tensor(mixed, candidate, "model.layers.1.mlp.up_proj.weight"));
  EXPECT_TRUE(same_tensor(mixed, base, "model.layers.0.mlp.up_proj.weight"));
  EXPECT_TRUE(same_tensor(mixed, base, "model.embed_tokens.weight"));
  const Tensor head = *mixed->read("lm_head.weight");
  const Tensor tied = *candidate->read("model.embed_tokens.weight");
  EXPECT_EQ(head.bytes().data(), tied.bytes().data());
  EXPECT_EQ(mixed->find("no.such"), nullptr);
  EXPECT_FALSE(mixed->read("no.such"));
}

TEST(MixedCheckpoint, RotatesInputsOfTheCandidatesModulesOnly) {
  const Checkpoint base = tiny(1);
  testing::TinyModel model = testing::make_tiny_model({.seed = 1});
  model.config["quantization_config"] = Json::parse(
      R"({"quant_method": "compressed-tensors", "config_groups": {}, "transform_config":
          {"config_groups": {"R4": {"type": "hadamard", "head_dim": 32, "apply":
          [{"targets": "re:.*down_proj$", "location": "input"}]}}}})");
  const ops::BlockHadamard rotation(96, 32, best_isa());
  for (const char* layer : {"0", "1"}) {
    Tensor& down = *model.find("model.layers." + std::string(layer) + ".mlp.down_proj.weight");
    std::vector<float> weights = down.to_f32();
    rotation.apply(weights.data(), down.rows());
    down = testing::f32_tensor(down.shape(), weights);
  }
  const Checkpoint candidate = testing::memory_checkpoint(std::move(model));
  const Checkpoint mixed = mix(base, candidate, {"model.layers.1.mlp.down_proj"});
  const auto config = parse_llama_config(mixed->config(), "mixed");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ((std::vector<std::size_t>{0, 32}), config->down_rotations);
  const std::vector<float> expected = logits(base);
  const std::vector<float> actual = logits(mixed);
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], actual[i], 2e-5f);
}

TEST(MixedCheckpoint, RefusesModelsOfOtherShapes) {
  const auto mixed = mix_checkpoints(tiny(1), tiny(1, true, 3), {});
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_NE(mixed.error().message.find("num_hidden_layers: expected 2 as in the base, got 3"),
            std::string::npos);
}

}  // namespace
}  // namespace fptq::model
