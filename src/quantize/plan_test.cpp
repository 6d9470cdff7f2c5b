#include "quantize/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quantize/test_tensors.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

using testing::make_tiny_model;
using testing::memory_checkpoint;
using testing::TinyModel;
using testing::TinyOptions;

const std::size_t kVocabulary = TinyOptions{}.vocabulary;

Recipe recipe_with(const RecipeOverrides& flags, std::string_view name = "rtn") {
  auto recipe = builtin_recipe(name);
  EXPECT_TRUE(recipe);
  auto changed = apply_overrides(*std::move(recipe), flags);
  EXPECT_TRUE(changed);
  return *std::move(changed);
}

Recipe rtn() {
  return recipe_with({});
}

std::vector<std::string> output_names(const Plan& plan) {
  std::vector<std::string> names;
  for (const io::TensorSpec& tensor : plan.output_tensors()) names.push_back(tensor.name);
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string plan_error(const TinyModel& model) {
  const auto plan = make_plan(rtn(), *memory_checkpoint(model));
  return plan ? "no error" : plan.error().message;
}

const TensorPlan& tensor_of(const Plan& plan, const std::string& source) {
  return *std::find_if(plan.tensors.begin(), plan.tensors.end(),
                       [&](const TensorPlan& tensor) { return tensor.source == source; });
}

TEST(MakePlan, QuantizesLinearsAndKeepsNorms) {
  const auto plan = make_plan(rtn(), *memory_checkpoint(make_tiny_model()));
  ASSERT_TRUE(plan) << plan.error().message;
  const TensorPlan& linear = tensor_of(*plan, "model.layers.1.mlp.down_proj.weight");
  EXPECT_EQ(scheme_name(linear.scheme), "w4g32-a8t");
  EXPECT_EQ(linear.quantized->scales.dtype, DType::kF16);
  EXPECT_EQ(linear.quantized->scales.shape, (Shape{64, 3}));
  const TensorPlan& norm = tensor_of(*plan, "model.norm.weight");
  EXPECT_FALSE(norm.quantized);
  EXPECT_EQ(norm.stored->dtype, DType::kF32);
  EXPECT_TRUE(plan->warnings.empty());
}

TEST(MakePlan, StoresATiedEmbeddingOnceAndItsScalesTwice) {
  const auto plan = make_plan(rtn(), *memory_checkpoint(make_tiny_model()));
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->tied);
  const std::vector<std::string> names = output_names(*plan);
  EXPECT_TRUE(contains(names, "model.embed_tokens.weight"));
  EXPECT_TRUE(contains(names, "model.embed_tokens.weight_scale"));
  EXPECT_TRUE(contains(names, "lm_head.weight_scale"));
  EXPECT_FALSE(contains(names, "lm_head.weight"));
}

TEST(MakePlan, UntiesWhatIsQuantizedDifferently) {
  RecipeOverrides flags;
  flags.head = "keep";
  const auto plan = make_plan(recipe_with(flags), *memory_checkpoint(make_tiny_model()));
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->tied);
  const std::vector<std::string> names = output_names(*plan);
  EXPECT_TRUE(contains(names, "lm_head.weight"));
  EXPECT_FALSE(contains(names, "lm_head.weight_scale"));
  ASSERT_EQ(plan->warnings.size(), 1U);
  const Json config = output_config(*plan, *memory_checkpoint(make_tiny_model()));
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["quantization_config"]["ignore"], Json::array({"lm_head"}));
}

TEST(MakePlan, KeepsATiedEmbeddingThatStaysInFloatingPointTied) {
  RecipeOverrides flags;
  flags.embed = "bf16";
  flags.head = "bf16";
  const auto plan = make_plan(recipe_with(flags), *memory_checkpoint(make_tiny_model()));
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->tied);
  EXPECT_EQ(tensor_of(*plan, "model.embed_tokens.weight").stored->dtype, DType::kBF16);
  EXPECT_FALSE(contains(output_names(*plan), "lm_head.weight"));
}

TEST(MakePlan, KeepsAClassifierThatDiffersAlthoughTheConfigSaysTied) {
  TinyModel model = make_tiny_model();
  model.tensors.emplace_back("lm_head.weight", make_tensor(DType::kF32, {kVocabulary, 64},
                                                           random_weights(kVocabulary * 64, 99)));
  const auto checkpoint = memory_checkpoint(model);
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->tied);
  EXPECT_TRUE(contains(output_names(*plan), "lm_head.weight"));
  EXPECT_TRUE(contains(output_names(*plan), "lm_head.weight_scale"));
  ASSERT_EQ(plan->warnings.size(), 1U);
  EXPECT_EQ(output_config(*plan, *checkpoint)["tie_word_embeddings"], false);
}

TEST(MakePlan, DropsAClassifierThatRepeatsATiedEmbedding) {
  TinyModel model = make_tiny_model();
  model.tensors.emplace_back("lm_head.weight", *model.find("model.embed_tokens.weight"));
  const auto checkpoint = memory_checkpoint(model);
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->tied);
  EXPECT_FALSE(contains(output_names(*plan), "lm_head.weight"));
  EXPECT_TRUE(plan->warnings.empty());
}

TEST(MakePlan, TakesTheScaleTypeFromTheWeights) {
  TinyOptions sizes;
  sizes.dtype = DType::kBF16;
  const auto plan = make_plan(rtn(), *memory_checkpoint(make_tiny_model(sizes)));
  ASSERT_TRUE(plan);
  EXPECT_EQ(tensor_of(*plan, "model.layers.0.self_attn.q_proj.weight").quantized->scales.dtype,
            DType::kBF16);
  RecipeOverrides flags;
  flags.scale_dtype = "f32";
  const auto wide = make_plan(recipe_with(flags), *memory_checkpoint(make_tiny_model(sizes)));
  ASSERT_TRUE(wide);
  EXPECT_EQ(tensor_of(*wide, "model.layers.0.self_attn.q_proj.weight").quantized->scales.dtype,
            DType::kF32);
}

TEST(MakePlan, LetsTheFirstOverrideThatMatchesDecide) {
  RecipeOverrides flags;
  flags.overrides = {R"(layers\.0\..*down=w8c)", "down_proj=keep", "embed_tokens=f16"};
  const auto plan = make_plan(recipe_with(flags), *memory_checkpoint(make_tiny_model()));
  ASSERT_TRUE(plan);
  EXPECT_EQ(scheme_name(tensor_of(*plan, "model.layers.0.mlp.down_proj.weight").scheme), "w8c-a8t");
  EXPECT_FALSE(tensor_of(*plan, "model.layers.1.mlp.down_proj.weight").quantized);
  EXPECT_EQ(scheme_name(tensor_of(*plan, "model.layers.1.mlp.up_proj.weight").scheme), "w4g32-a8t");
  EXPECT_EQ(tensor_of(*plan, "model.embed_tokens.weight").stored->dtype, DType::kF16);
}

TEST(MakePlan, RejectsAnOverrideThatNoLayerMatches) {
  RecipeOverrides flags;
  flags.overrides = {"layers.9.*=w8c"};
  const auto plan = make_plan(recipe_with(flags), *memory_checkpoint(make_tiny_model()));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(plan.error().message,
            "override \"layers.9.*\": expected to be found in the name of a layer, and no layer "
            "has such a name. Names are like model.layers.0.mlp.down_proj, model.embed_tokens and "
            "lm_head");
}

TEST(MakePlan, CountsBits) {
  const auto plan = make_plan(rtn(), *memory_checkpoint(make_tiny_model()));
  ASSERT_TRUE(plan);
  // W4 g32: 4 bits a code, 16 a scale and 8 a zero point for 32 weights, and 128 bits of shape
  // for each of the 14 linears. Rows of 96 or 64 inputs fill whole words.
  const double weights = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64);
  EXPECT_DOUBLE_EQ(plan->linear_bits_per_weight, 4 + 24.0 / 32 + 14 * 128 / weights);
  EXPECT_EQ(plan->parameters, static_cast<std::uint64_t>(weights) + kVocabulary * 64 + 5 * 64);
  std::uint64_t output_bytes = 0;
  for (const io::TensorSpec& tensor : plan->output_tensors()) output_bytes += spec_bytes(tensor);
  EXPECT_EQ(plan->output_bytes, output_bytes);
}

TEST(MakePlan, RejectsAMissingTensor) {
  TinyModel model = make_tiny_model();
  model.erase("model.layers.1.self_attn.v_proj.weight");
  const auto checkpoint = memory_checkpoint(model);
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(plan.error().message,
            "tiny: tensor \"model.layers.1.self_attn.v_proj.weight\": expected [32, 64] from "
            "config.json, got no such tensor. Do config.json and the weights belong together?");
}

TEST(MakePlan, RejectsAMissingNormOrBias) {
  TinyModel norm = make_tiny_model();
  norm.erase("model.norm.weight");
  EXPECT_EQ(plan_error(norm),
            "tiny: tensor \"model.norm.weight\": expected [64] from config.json, got no such "
            "tensor. Do config.json and the weights belong together?");

  TinyModel bias = make_tiny_model();
  bias.config["mlp_bias"] = true;
  EXPECT_EQ(plan_error(bias),
            "tiny: tensor \"model.layers.0.mlp.gate_proj.bias\": expected [96] from config.json, "
            "got no such tensor. Do config.json and the weights belong together?");
}

TEST(MakePlan, RejectsATensorThatTheConfigurationDoesNotHave) {
  TinyModel model = make_tiny_model();
  model.tensors.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq",
                             make_tensor(DType::kF32, {8}, random_weights(8, 1)));
  EXPECT_TRUE(make_plan(rtn(), *memory_checkpoint(model)));  // older files have it

  model.config["num_hidden_layers"] = 1;
  EXPECT_EQ(plan_error(model),
            "tiny.safetensors: tensor \"model.layers.1.input_layernorm.weight\": expected no such "
            "tensor in the model that config.json describes, got one of shape [64]");
}

TEST(MakePlan, TakesNullForAKeyThatIsAbsent) {
  TinyModel model = make_tiny_model({.tied = false});
  model.config["tie_word_embeddings"] = nullptr;
  model.config["quantization_config"] = nullptr;
  const auto checkpoint = memory_checkpoint(model);
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_TRUE(output_config(*plan, *checkpoint)["tie_word_embeddings"].is_null());
}

TEST(MakePlan, RejectsAWrongShape) {
  TinyModel model = make_tiny_model();
  *model.find("model.layers.0.mlp.up_proj.weight") =
      make_tensor(DType::kF32, {64, 96}, random_weights(64 * 96, 1));
  const auto checkpoint = memory_checkpoint(model);
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_FALSE(plan);
  EXPECT_EQ(
      plan.error().message,
      "tiny.safetensors: tensor \"model.layers.0.mlp.up_proj.weight\": expected [96, 64] from "
      "config.json, got [64, 96]. Do config.json and the weights belong to the same model?");
}

TEST(MakePlan, RejectsACheckpointThatIsQuantizedAlready) {
  TinyModel model = make_tiny_model();
  model.config["quantization_config"] = {{"quant_method", "gptq"}};
  const auto checkpoint = memory_checkpoint(model);
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, Error::Kind::kUnsupported);
}

TEST(OutputConfig, KeepsEveryKeyAndItsPlace) {
  const auto checkpoint = memory_checkpoint(make_tiny_model());
  const auto plan = make_plan(rtn(), *checkpoint);
  ASSERT_TRUE(plan);
  Json config = output_config(*plan, *checkpoint);
  ASSERT_TRUE(config.contains("quantization_config"));
  config.erase("quantization_config");
  EXPECT_EQ(config.dump(), checkpoint->config().dump());
}

TEST(CheckDiskSpace, SaysWhatIsNeeded) {
  EXPECT_TRUE(check_disk_space(".", 1));
  const Status status = check_disk_space(".", std::numeric_limits<std::uint64_t>::max());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, Error::Kind::kLimit);
  EXPECT_NE(status.error().message.find("the output needs 18446744073709551615 bytes, and "),
            std::string::npos);
}

}  // namespace
}  // namespace fptq::quantize
