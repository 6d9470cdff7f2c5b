#include "model/transform_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/llama_config.h"
#include "model/llama_model.h"
#include "ops/hadamard.h"
#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

using testing::make_tiny_model;
using testing::memory_checkpoint;

// A group R4 with these keys and one entry of `apply`.
Json config_of(const char* group, const char* entry) {
  Json config = Json::parse(R"({"config_groups": {"R4": {"type": "hadamard"}}})");
  config["config_groups"]["R4"].update(Json::parse(group));
  config["config_groups"]["R4"]["apply"] = Json::array({Json::parse(entry)});
  return config;
}

constexpr char kDown[] = R"({"targets": ["re:.*down_proj$"], "location": "input"})";

// What two layers with inputs of 96 channels make of it, or the message.
std::string rotations_of(const Json& json, std::size_t width = 96) {
  const auto config = TransformConfig::parse(json, "t");
  if (!config) return config.error().message;
  const auto blocks = config->down_rotations(2, width);
  if (!blocks) return blocks.error().message;
  return Json(*blocks).dump();
}

TEST(TransformConfig, ReadsBlocksOfTheInputsOfDown) {
  EXPECT_EQ("[32,32]", rotations_of(config_of(R"({"head_dim": 32})", kDown)));
  EXPECT_EQ("[8,8]", rotations_of(config_of(R"({"head_dim": 8, "randomize": false,
      "requires_grad": false, "precision": "torch.float64"})",
                                            kDown)));
  EXPECT_EQ("[128,128]", rotations_of(config_of("{}", kDown), 128)) << "the whole width";
  EXPECT_EQ("[0,16]", rotations_of(config_of(R"({"head_dim": 16})", R"({
      "targets": "model.layers.1.mlp.down_proj", "location": "input", "inverse": true})")));
  EXPECT_EQ("[16,0]", rotations_of(config_of(R"({"head_dim": 16})", R"({
      "targets": ["re:.*down_proj$"], "location": "input",
      "ignore": ["model.layers.1.mlp.down_proj"]})")));
}

TEST(TransformConfig, LeavesOutWhatIsInTheWeightsAlready) {
  EXPECT_EQ("[]", rotations_of(Json::object()));
  EXPECT_EQ("[]",
            rotations_of(config_of(R"({"type": "random-hadamard", "randomize": true})",
                                   R"({"targets": ["Linear"], "location": "weight_output"})")));
  Json both = config_of(R"({"head_dim": 32})", kDown);
  both["config_groups"]["R4"]["apply"].push_back(Json::parse(
      R"({"targets": ["re:.*down_proj$"], "location": "weight_input", "inverse": true})"));
  EXPECT_EQ("[32,32]", rotations_of(both));
}

TEST(TransformConfig, RefusesWhatItWouldHaveToIgnore) {
  EXPECT_EQ("t: R4: type: expected \"hadamard\", got \"random-matrix\"",
            rotations_of(config_of(R"({"type": "random-matrix"})", kDown)));
  EXPECT_EQ("t: R4: randomize: expected false, got true",
            rotations_of(config_of(R"({"randomize": true})", kDown)));
  EXPECT_EQ(
      "t: R4: precision: expected \"torch.float32\" or \"torch.float64\", got "
      "\"torch.bfloat16\"",
      rotations_of(config_of(R"({"precision": "torch.bfloat16"})", kDown)));
  EXPECT_EQ("t: R4: seed: expected no such key, got 5",
            rotations_of(config_of(R"({"seed": 5})", kDown)));
  EXPECT_EQ("t: R4: head_dim: expected an integer from 1 to 16777216, got 0",
            rotations_of(config_of(R"({"head_dim": 0})", kDown)));
  EXPECT_EQ(
      "t: R4: apply: location: expected \"input\", \"weight_input\" or \"weight_output\", got "
      "\"q_attn\"",
      rotations_of(config_of("{}", R"({"targets": ["re:.*self_attn$"],
                                             "location": "q_attn"})")));
  EXPECT_EQ("t: R4: apply: scale: expected no such key, got 2",
            rotations_of(config_of("{}", R"({"targets": [], "location": "input", "scale": 2})")));
  EXPECT_EQ("t: R4: apply: targets: expected a list of module names, got 7",
            rotations_of(config_of("{}", R"({"targets": 7, "location": "input"})")));
  EXPECT_EQ("t: version: expected no such key, got 1",
            rotations_of(Json::parse(R"({"config_groups": {}, "version": 1})")));
  EXPECT_EQ("t: config_groups: expected an object with groups, got []",
            rotations_of(Json::parse(R"({"config_groups": []})")));
}

TEST(TransformConfig, RefusesTargetsThatAreNotDownProjectionsOfTheModel) {
  for (const char* target :
       {"Linear", "LlamaMLP", "model.layers.0.mlp.up_proj", "model.layers.2.mlp.down_proj", "re:.*",
        "re:.*mlp", "re:model.layers.0", "re:.*proj$", "lm_head"}) {
    Json config = config_of(R"({"head_dim": 32})", kDown);
    config["config_groups"]["R4"]["apply"][0]["targets"] = {target};
    EXPECT_EQ(
        "t: R4: apply: targets: expected down_proj of layers of the model and nothing else, "
        "got \"" +
            std::string(target) + "\"",
        rotations_of(config));
  }
}

TEST(TransformConfig, RefusesBlocksThatDoNotFitAndSecondRotations) {
  const std::string expected =
      "t: R4: apply: head_dim: expected a power of two that divides the width 96 of what is "
      "rotated, got ";
  EXPECT_EQ(expected + "64", rotations_of(config_of(R"({"head_dim": 64})", kDown)));
  EXPECT_EQ(expected + "48", rotations_of(config_of(R"({"head_dim": 48})", kDown)));
  EXPECT_EQ(expected + "null", rotations_of(config_of("{}", kDown)));
  Json twice = config_of(R"({"head_dim": 32})", kDown);
  twice["config_groups"]["again"] = twice["config_groups"]["R4"];
  EXPECT_EQ(
      "t: again: apply: expected one rotation of the inputs of "
      "\"model.layers.0.mlp.down_proj\", got two",
      rotations_of(twice));
}

TEST(TransformConfig, BoundsThePriceOfPatterns) {
  Json many = config_of("{}", kDown);
  for (int i = 0; i < 16; ++i) {
    many["config_groups"]["R4"]["apply"][0]["targets"].push_back("re:.*down_proj$");
  }
  EXPECT_NE(std::string::npos, rotations_of(many).find("expected at most 16 regular expressions"));
  const auto config = TransformConfig::parse(config_of("{}", kDown), "t");
  ASSERT_TRUE(config);
  EXPECT_EQ("t: R4: apply: expected a model of at most 1024 layers, got 65536",
            config->down_rotations(65536, 128).error().message);
}

// Logits of some tokens, and the inputs of the last layer's down_proj.
struct Seen {
  std::vector<float> logits;
  std::vector<float> down_inputs;
  std::vector<ReceiptEntry> receipt;
};

Seen run(testing::TinyModel model, ThreadPool& pool) {
  auto loaded = LlamaModel::load(memory_checkpoint(std::move(model)), {.pool = &pool});
  if (!loaded) {
    ADD_FAILURE() << loaded.error().message;
    return {};
  }
  LlamaModel& llama = *loaded;
  const std::vector<std::int32_t> ids = {1, 17, 300, 4, 4, 99};
  KvCache cache = *llama.new_cache(ids.size());
  const SequenceInput input{.ids = ids, .cache = &cache, .logits = LogitsWanted::kAll};
  Seen seen;
  seen.logits.resize(ids.size() * llama.config().vocab_size);
  const auto status = llama.forward(
      std::span(&input, 1), seen.logits,
      [&](std::string_view name, const float* values, std::size_t rows, std::size_t cols) {
        if (name == "block1.down_proj.in") seen.down_inputs.assign(values, values + rows * cols);
      });
  EXPECT_TRUE(status);
  seen.receipt = llama.receipt();
  return seen;
}

TEST(TransformConfig, RotatesInputsSoThatRotatedWeightsGiveTheSameFunction) {
  ThreadPool pool(2);
  const Seen plain = run(make_tiny_model(), pool);
  testing::TinyModel model = make_tiny_model();
  const ops::BlockHadamard rotation(96, 32, best_isa());
  Tensor& down = *model.find("model.layers.1.mlp.down_proj.weight");
  std::vector<float> weights = down.to_f32();
  rotation.apply(weights.data(), down.rows());
  down = testing::f32_tensor(down.shape(), weights);
  model.config["quantization_config"] = {{"quant_method", "compressed-tensors"},
                                         {"config_groups", Json::object()},
                                         {"transform_config", config_of(R"({"head_dim": 32})", R"({
           "targets": ["model.layers.1.mlp.down_proj"], "location": "input"})")}};
  const Seen rotated = run(std::move(model), pool);
  std::vector<float> expected = plain.down_inputs;
  rotation.apply(expected.data(), expected.size() / 96);
  EXPECT_EQ(expected, rotated.down_inputs);
  ASSERT_EQ(plain.logits.size(), rotated.logits.size());
  float largest = 0;
  for (const float logit : plain.logits) largest = std::max(largest, std::abs(logit));
  for (std::size_t i = 0; i < plain.logits.size(); ++i) {
    ASSERT_NEAR(plain.logits[i], rotated.logits[i], 1e-5f * largest) << i;
  }
  EXPECT_EQ("dense_gemm", rotated.receipt[7].kernel);
  EXPECT_EQ("hadamard+dense_gemm", rotated.receipt[14].kernel);
}

}  // namespace
}  // namespace fptq::model
