#include "model/quant_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace fptq::model {
namespace {

constexpr char kW4[] =
    R"({"num_bits": 4, "type": "int", "symmetric": false, "strategy": "group", "group_size": 32,
        "dynamic": false, "actorder": "weight"})";
constexpr char kW8[] =
    R"({"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel"})";
constexpr char kA8[] =
    R"({"num_bits": 8, "type": "int", "symmetric": true, "strategy": "token", "dynamic": true})";

Json group(const char* targets, const char* weights, const char* activations, const char* format) {
  Json json;
  json["targets"] = Json::parse(targets);
  json["weights"] = Json::parse(weights);
  json["input_activations"] = Json::parse(activations);
  json["format"] = Json::parse(format);
  return json;
}

Json config_of(std::initializer_list<Json> groups, const char* ignore = "[]") {
  Json config = Json::parse(R"({"quant_method": "compressed-tensors", "format": "mixed-precision",
                                "kv_cache_scheme": null, "sparsity_config": {}})");
  config["ignore"] = Json::parse(ignore);
  config["config_groups"] = Json::object();
  for (const Json& entry : groups) {
    config["config_groups"]["group_" + std::to_string(config["config_groups"].size())] = entry;
  }
  return config;
}

QuantConfig parse(const Json& json) {
  auto config = QuantConfig::parse(json, "c");
  if (!config) ADD_FAILURE() << config.error().message;
  return config ? *std::move(config) : QuantConfig();
}

std::string error_of(const Json& json) {
  const auto config = QuantConfig::parse(json, "c");
  return config ? "no error" : config.error().message;
}

TEST(QuantConfig, GivesEveryLinearTheSchemeOfItsClass) {
  const QuantConfig config =
      parse(config_of({group(R"(["Linear"])", kW4, kA8, R"("pack-quantized")")}, R"(["lm_head"])"));
  const auto found = config.find("model.layers.0.mlp.up_proj", ModuleKind::kLinear);
  ASSERT_TRUE(found);
  EXPECT_EQ("w4g32-a8t", scheme_name(found->scheme));
  EXPECT_FALSE(found->scheme.weights->symmetric);
  EXPECT_EQ(QuantStorage::kPacked, found->storage);
  EXPECT_FALSE(config.find("lm_head", ModuleKind::kLinear));
  EXPECT_FALSE(config.find("model.embed_tokens", ModuleKind::kEmbedding));
}

TEST(QuantConfig, PrefersNamesToExpressionsToClasses) {
  const QuantConfig config =
      parse(config_of({group(R"(["Linear"])", kW4, kA8, R"("pack-quantized")"),
                       group(R"(["re:.*down_proj"])", kW8, kA8, R"("int-quantized")"),
                       group(R"(["model.layers.1.mlp.down_proj", "Embedding"])", kW8, "null",
                             R"("int-quantized")")}));
  const auto name = [&](const char* module, ModuleKind kind = ModuleKind::kLinear) {
    return scheme_name(config.find(module, kind)->scheme);
  };
  EXPECT_EQ("w4g32-a8t", name("model.layers.0.mlp.up_proj"));
  EXPECT_EQ("w8c-a8t", name("model.layers.0.mlp.down_proj"));
  EXPECT_EQ("w8c", name("model.layers.1.mlp.down_proj"));
  EXPECT_EQ("w8c", name("model.embed_tokens", ModuleKind::kEmbedding));
}

TEST(QuantConfig, MatchesExpressionsAtTheBeginningOfTheName) {
  const QuantConfig config =
      parse(config_of({group(R"(["Linear"])", kW4, "null", R"("pack-quantized")")},
                      R"(["re:.*layers\\.0\\.", "re:mlp"])"));
  EXPECT_FALSE(config.find("model.layers.0.mlp.up_proj", ModuleKind::kLinear));
  EXPECT_TRUE(config.find("model.layers.10.mlp.up_proj", ModuleKind::kLinear));
}

TEST(QuantConfig, BoundsTheCostOfExpressions) {
  const auto with_target = [](const std::string& target) {
    Json entry = group("[]", kW4, "null", R"("pack-quantized")");
    entry["targets"] = Json::array({target});
    return config_of({entry});
  };
  // Exponential for a matcher that backtracks.
  EXPECT_FALSE(
      parse(with_target("re:(a*)*(a*)*b")).find(std::string(60, 'a'), ModuleKind::kLinear));
  EXPECT_NE("no error", error_of(with_target("re:" + std::string(513, 'a'))));
  EXPECT_NE("no error", error_of(with_target("re:(a{60}){60}")));
  EXPECT_NE("no error", error_of(with_target("re:(unclosed")));
}

TEST(QuantConfig, NamesWhatIsNotSupported) {
  const auto with_key = [](const char* key, const char* value) {
    Json config = config_of({group(R"(["Linear"])", kW4, kA8, R"("pack-quantized")")});
    config[key] = Json::parse(value);
    return error_of(config);
  };
  EXPECT_EQ("c: kv_cache_scheme: expected null, got {\"num_bits\":8}",
            with_key("kv_cache_scheme", R"({"num_bits": 8})"));
  EXPECT_EQ(
      "c: format: expected pack-quantized, int-quantized, naive-quantized, dense or "
      "mixed-precision, got \"float-quantized\"",
      with_key("format", R"("float-quantized")"));
  EXPECT_EQ("c: transform_config: expected a JSON object, got \"R4\"",
            with_key("transform_config", R"("R4")"));
  EXPECT_EQ("c: transform_config: R4: type: expected \"hadamard\", got \"random-hadamard\"",
            with_key("transform_config", R"({"config_groups": {"R4": {"type": "random-hadamard",
                     "apply": [{"targets": ["re:.*down_proj$"], "location": "input"}]}}})"));
  EXPECT_EQ("c: moe_sparsity_config: expected null or {}, got {\"a\":1}",
            with_key("moe_sparsity_config", R"({"a": 1})"));
  EXPECT_NE("no error", with_key("config_groups", "[]"));

  const auto with_weights = [](const char* weights) {
    return error_of(config_of({group(R"(["Linear"])", weights, "null", R"("pack-quantized")")}));
  };
  EXPECT_EQ("c: config_groups: group_0: weights: num_bits: expected 4 or 8, got 3",
            with_weights(R"({"num_bits": 3, "strategy": "channel"})"));
  EXPECT_EQ("c: config_groups: group_0: weights: type: expected \"int\", got \"float\"",
            with_weights(R"({"num_bits": 8, "type": "float"})"));
  EXPECT_EQ(
      "c: config_groups: group_0: weights: actorder: expected null or \"weight\" (groups of "
      "consecutive inputs), got \"group\"",
      with_weights(R"({"num_bits": 4, "group_size": 32, "actorder": "group"})"));
  EXPECT_NE("no error", with_weights(R"({"num_bits": 4, "strategy": "group"})"));
  EXPECT_NE("no error", with_weights(R"({"num_bits": 4, "strategy": "group", "group_size": 0})"));
}

TEST(QuantConfig, TakesBlocksOfOneRowForGroupsOrWholeRows) {
  const auto config = [](const char* weights) {
    return config_of({group(R"(["Linear"])", weights, "null", R"("pack-quantized")")});
  };
  const QuantArgs weights =
      *parse(config(R"({"num_bits": 4, "symmetric": false, "strategy": "block", "group_size": null,
                        "block_structure": [1, 48]})"))
           .find("x", ModuleKind::kLinear)
           ->scheme.weights;
  EXPECT_EQ(int_weights(4, Strategy::kGroup, 48, false), without_blocks(weights, 96));
  EXPECT_EQ(int_weights(4, Strategy::kGroup, 48, false), without_blocks(weights, 32));
  EXPECT_EQ(int_weights(4, Strategy::kChannel, 0, false), without_blocks(weights, 48));
  const QuantArgs groups = int_weights(4, Strategy::kGroup, 48, true);
  EXPECT_EQ(groups, without_blocks(groups, 48));

  EXPECT_EQ(
      "c: config_groups: group_0: weights: block_structure: expected [1, N], blocks of one row, "
      "got [128,128]",
      error_of(config(R"({"num_bits": 8, "strategy": "block", "block_structure": [128, 128]})")));
  for (const char* bad : {R"({"strategy": "block"})", R"({"block_structure": [1, 32]})",
                          R"({"strategy": "group", "block_structure": [1, 32]})",
                          R"({"strategy": "block", "block_structure": [1, 0]})",
                          R"({"strategy": "block", "block_structure": [1, -32]})",
                          R"({"strategy": "block", "block_structure": [1, 32.5]})",
                          R"({"strategy": "block", "block_structure": [1]})",
                          R"({"strategy": "block", "block_structure": [1, 1e30]})",
                          R"({"strategy": "block", "block_structure": "1x32"})",
                          R"({"strategy": "block", "block_structure": [1, 9], "group_size": 9})"}) {
    EXPECT_NE("no error", error_of(config(bad))) << bad;
  }
}

TEST(QuantConfig, InfersTheStrategyFromTheGroupSize) {
  const auto strategy = [](const char* weights) {
    return parse(config_of({group(R"(["Linear"])", weights, "null", R"("pack-quantized")")}))
        .find("x", ModuleKind::kLinear)
        ->scheme.weights->strategy;
  };
  EXPECT_EQ(Strategy::kGroup, strategy(R"({"num_bits": 4, "group_size": 64})"));
  EXPECT_EQ(Strategy::kChannel, strategy(R"({"num_bits": 4, "group_size": -1})"));
  EXPECT_EQ(Strategy::kTensor, strategy(R"({"num_bits": 8})"));
}

}  // namespace
}  // namespace fptq::model
