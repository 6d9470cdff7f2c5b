#include "model/llama_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

namespace fptq::model {
namespace {

Json base_config() {
  return Json::parse(R"({"model_type": "llama", "vocab_size": 320, "hidden_size": 64,
      "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
      "eos_token_id": 2, "bos_token_id": 1})");
}

// The base configuration with one key set to a JSON value.
Json with(const std::string& key, const std::string& value) {
  Json config = base_config();
  config[key] = Json::parse(value);
  return config;
}

Error error_of(const Json& config) {
  const auto result = parse_llama_config(config, "config.json");
  return result ? Error{Error::Kind::kCheckFailed, "no error"} : result.error();
}

TEST(LlamaConfig, ReadsSizesAndDefaults) {
  const auto config = parse_llama_config(base_config(), "config.json");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(16u, config->head_dim);
  EXPECT_EQ(64u, config->q_width());
  EXPECT_EQ(32u, config->kv_width());
  EXPECT_EQ(10000.0, config->rope.theta);
  EXPECT_EQ(RopeKind::kDefault, config->rope.kind);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_EQ((std::vector<std::int32_t>{2}), config->eos_ids);
  EXPECT_TRUE(config->warnings.empty());
}

TEST(LlamaConfig, ReadsOldAndNewNamesOfRopeScaling) {
  const auto old_names =
      parse_llama_config(with("rope_scaling", R"({"type": "linear", "factor": 4})"), "config.json");
  ASSERT_TRUE(old_names) << old_names.error().message;
  EXPECT_EQ(RopeKind::kLinear, old_names->rope.kind);
  EXPECT_EQ(4.0, old_names->rope.factor);

  const auto new_names = parse_llama_config(
      with("rope_parameters",
           R"({"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32})"),
      "config.json");
  ASSERT_TRUE(new_names) << new_names.error().message;
  EXPECT_EQ(RopeKind::kLlama3, new_names->rope.kind);
  EXPECT_EQ(500000.0, new_names->rope.theta);
  EXPECT_EQ(32u, new_names->rope.original_max_positions);
}

TEST(LlamaConfig, ReadsSeveralEndOfSequenceIds) {
  const auto config = parse_llama_config(with("eos_token_id", "[2, 5, 7]"), "config.json");
  ASSERT_TRUE(config);
  EXPECT_EQ((std::vector<std::int32_t>{2, 5, 7}), config->eos_ids);
}

TEST(LlamaConfig, TakesNegativeTokenIdsForNone) {
  Json config = with("eos_token_id", "[2, -1]");
  config["bos_token_id"] = -1;
  config["pad_token_id"] = -1;
  const auto parsed = parse_llama_config(config, "config.json");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ((std::vector<std::int32_t>{2}), parsed->eos_ids);
  EXPECT_FALSE(parsed->bos_id);
}

TEST(LlamaConfig, KeepsMistralsSlidingWindow) {
  Json config = with("sliding_window", "32");
  config["model_type"] = "mistral";
  const auto mistral = parse_llama_config(config, "config.json");
  ASSERT_TRUE(mistral) << mistral.error().message;
  EXPECT_EQ(32u, mistral->sliding_window);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(0u, parse_llama_config(config, "config.json")->sliding_window);
}

TEST(LlamaConfig, NamesWhatIsNotSupported) {
  const Error type = error_of(with("model_type", "\"gemma\""));
  EXPECT_EQ(Error::Kind::kUnsupported, type.kind);
  EXPECT_EQ("config.json: model_type: expected \"llama\" or \"mistral\", got \"gemma\"",
            type.message);
  EXPECT_EQ("config.json: hidden_act: expected \"silu\", got \"gelu\"",
            error_of(with("hidden_act", "\"gelu\"")).message);
  EXPECT_EQ(
      "config.json: rope_scaling: rope_type: expected default, linear, dynamic, yarn or llama3, "
      "got "
      "\"longrope\"",
      error_of(with("rope_scaling", R"({"rope_type": "longrope", "factor": 2})")).message);
  const Error layers =
      error_of(with("rope_parameters", R"({"full_attention": {"rope_type": "default"}})"));
  EXPECT_EQ(Error::Kind::kUnsupported, layers.kind);
  EXPECT_EQ(
      "config.json: rope_parameters: full_attention: expected one set of parameters for all "
      "layers, got {\"rope_type\":\"default\"}",
      layers.message);
  EXPECT_EQ(
      "config.json: quantization_config: quant_method: expected \"compressed-tensors\" or "
      "\"bitsandbytes\", got "
      "\"gptq\"",
      error_of(with("quantization_config", R"({"quant_method": "gptq"})")).message);
  EXPECT_EQ(Error::Kind::kUnsupported, error_of(with("sliding_window", "4096")).kind);
}

TEST(LlamaConfig, RefusesKeysThatChangeTheFunction) {
  for (const char* key : {"partial_rotary_factor", "attention_multiplier", "logits_scaling",
                          "final_logit_softcapping", "num_local_experts"}) {
    const Error error = error_of(with(key, "0.5"));
    EXPECT_EQ(Error::Kind::kUnsupported, error.kind) << key;
    EXPECT_NE(std::string::npos, error.message.find(key)) << error.message;
  }
  EXPECT_TRUE(parse_llama_config(with("partial_rotary_factor", "1.0"), "config.json"));
  EXPECT_TRUE(parse_llama_config(with("final_logit_softcapping", "null"), "config.json"));
}

TEST(LlamaConfig, KnowsWhatPublishedFilesAddForOtherPrograms) {
  Json config = with("transformers.js_config", R"({"kv_cache_dtype": {"fp16": "float16"}})");
  config["is_llama_config"] = true;
  config["rope_interleaved"] = false;
  config["_flash_attn_2_enabled"] = true;
  config["attention_dropout"] = 0.0;
  config["dtype"] = "bfloat16";
  config["head_dim"] = nullptr;
  const auto parsed = parse_llama_config(config, "config.json");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->warnings.empty());
}

TEST(LlamaConfig, WarnsOfKeysThatItDoesNotKnow) {
  const auto config = parse_llama_config(with("surprise", "3"), "config.json");
  ASSERT_TRUE(config);
  ASSERT_EQ(1u, config->warnings.size());
  EXPECT_EQ("config.json: keys without a meaning for Llama models were ignored: surprise",
            config->warnings[0]);
}

struct BadValue {
  const char* key;
  const char* value;
  const char* message;
};

std::ostream& operator<<(std::ostream& out, const BadValue& bad) {
  return out << bad.key << " = " << bad.value;
}

class HostileConfig : public ::testing::TestWithParam<BadValue> {};

TEST_P(HostileConfig, IsRefusedWithTheKeyExpectedAndFound) {
  const Error error = error_of(with(GetParam().key, GetParam().value));
  EXPECT_EQ(Error::Kind::kFormat, error.kind);
  EXPECT_EQ(std::string("config.json: ") + GetParam().message, error.message);
}

INSTANTIATE_TEST_SUITE_P(
    Values, HostileConfig,
    ::testing::Values(
        BadValue{"hidden_size", "0", "hidden_size: expected an integer from 1 to 16777216, got 0"},
        BadValue{"hidden_size", "-64",
                 "hidden_size: expected an integer from 1 to 16777216, got -64"},
        BadValue{"vocab_size", "1e30",
                 "vocab_size: expected an integer from 1 to 16777216, got 1e+30"},
        BadValue{"vocab_size", "18446744073709551615",
                 "vocab_size: expected an integer from 1 to 16777216, got 18446744073709551615"},
        BadValue{"intermediate_size", "null",
                 "intermediate_size: expected an integer from 1 to 16777216, got null"},
        BadValue{"num_hidden_layers", "\"2\"",
                 "num_hidden_layers: expected an integer from 1 to 65536, got \"2\""},
        BadValue{"num_attention_heads", "5",
                 "num_key_value_heads: expected a divisor of num_attention_heads (5), got 2"},
        BadValue{
            "num_attention_heads", "6",
            "num_attention_heads: expected a divisor of hidden_size (64) or a head_dim, got 6"},
        BadValue{"head_dim", "15", "head_dim: expected an even number from 2 to 65536, got 15"},
        BadValue{"rms_norm_eps", "-1", "rms_norm_eps: expected a number from 1e-30 to 1.0, got -1"},
        BadValue{"attention_bias", "1", "attention_bias: expected true or false, got 1"},
        BadValue{"eos_token_id", "[2, 0.5]", "eos_token_id: expected token ids, got [2,0.5]"},
        BadValue{"bos_token_id", "\"<s>\"", "bos_token_id: expected a token id, got \"<s>\""},
        BadValue{"rope_theta", "0", "rope_theta: expected a number from 1.000001 to 1e+30, got 0"},
        BadValue{"rope_scaling", "[]", "rope_scaling: expected a JSON object, got []"},
        BadValue{
            "rope_scaling", R"({"kind": "linear", "factor": 2})",
            "rope_scaling: rope_type: expected default, linear, dynamic, yarn or llama3 beside "
            "a factor, got nothing"},
        BadValue{"rope_scaling", R"({"type": "linear", "factor": 0})",
                 "rope_scaling: factor: expected a number from 1.0 to 1000000.0, got 0"},
        BadValue{"rope_scaling", R"({"type": "linear"})",
                 "rope_scaling: factor: expected a number from 1.0 to 1000000.0, got nothing"}),
    [](const auto& parameter) {
      return std::string(parameter.param.key) + "_" + std::to_string(parameter.index);
    });

TEST(LlamaConfig, RefusesWhatIsNotAnObject) {
  EXPECT_EQ("config.json: expected a JSON object, got []", error_of(Json::array()).message);
}

}  // namespace
}  // namespace fptq::model
