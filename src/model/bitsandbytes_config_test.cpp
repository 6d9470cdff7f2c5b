#include "model/bitsandbytes_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "model/quant_config.h"

namespace fptq::model {
namespace {

std::string config_error(const std::string& text) {
  const auto config = QuantConfig::parse(Json::parse(text), "q");
  return config ? "" : config.error().message;
}

TEST(BitsandbytesConfig, IsReadAsTransformersWritesIt) {
  const auto config = QuantConfig::parse(Json::parse(R"({
    "_load_in_4bit": true, "_load_in_8bit": false, "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": true, "llm_int8_enable_fp32_cpu_offload": false,
    "llm_int8_has_fp16_weight": false, "llm_int8_skip_modules": null, "llm_int8_threshold": 6.0,
    "load_in_4bit": true, "load_in_8bit": false, "quant_method": "bitsandbytes"})"),
                                         "q");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_TRUE(config->is_bitsandbytes());
  EXPECT_FALSE(config->find("model.layers.0.mlp.up_proj", ModuleKind::kLinear));
}

TEST(BitsandbytesConfig, OlderFilesDoNotNameTheMethod) {
  EXPECT_EQ("", config_error(R"({"load_in_4bit": true, "bnb_4bit_quant_type": "fp4"})"));
}

TEST(BitsandbytesConfig, RefusesWhatIsNotOffered) {
  const std::string four_bits =
      ": expected weights of 4 bits (load_in_4bit); LLM.int8 is not offered, got ";
  EXPECT_EQ("q: load_in_8bit" + four_bits + "true",
            config_error(R"({"quant_method": "bitsandbytes", "load_in_8bit": true})"));
  EXPECT_EQ("q: load_in_4bit" + four_bits + "false",
            config_error(R"({"quant_method": "bitsandbytes", "load_in_4bit": false})"));
  EXPECT_EQ("q: load_in_4bit: expected true, got nothing",
            config_error(R"({"quant_method": "bitsandbytes"})"));
  EXPECT_EQ("q: bnb_4bit_quant_type: expected nf4 or fp4, got \"int4\"",
            config_error(R"({"load_in_4bit": true, "bnb_4bit_quant_type": "int4"})"));
  EXPECT_EQ("q: bnb_4bit_quant_storage: expected uint8, got \"bfloat16\"",
            config_error(R"({"load_in_4bit": true, "bnb_4bit_quant_storage": "bfloat16"})"));
}

TEST(TableState, IsReadAsBitsandbytesWritesIt) {
  const auto plain = parse_table_state(
      R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [64, 96]})",
      CodeType::kNf4, "t");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ("nf4b64", scheme_name({plain->weights, std::nullopt}));
  EXPECT_EQ((Shape{64, 96}), plain->shape);

  const auto nested = parse_table_state(
      R"({"quant_type": "fp4", "blocksize": 128, "dtype": "float16", "shape": [1, 2],
          "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.125}     )",
      CodeType::kFp4, "t");
  ASSERT_TRUE(nested) << nested.error().message;
  EXPECT_EQ("fp4b128-dq", scheme_name({nested->weights, std::nullopt}));
  EXPECT_EQ(0.125f, nested->nested_offset);
}

TEST(TableState, NamesWhatIsWrong) {
  const auto message = [](const std::string& text) {
    const auto state = parse_table_state(text, CodeType::kNf4, "t");
    return state ? std::string() : state.error().message;
  };
  const std::string head = R"({"quant_type": "nf4", "blocksize": 64, "shape": [2, 32])";
  EXPECT_EQ("", message(head + "}"));
  EXPECT_NE(std::string::npos, message("{\"quant_type\"").find("t: line 1"));
  EXPECT_NE("", message("[]"));
  EXPECT_EQ("t: expected at most 4096 bytes of JSON, got 5000", message(std::string(5000, ' ')));
  EXPECT_EQ("t: quant_type: expected \"nf4\" as in its name, got \"fp4\"",
            message(R"({"quant_type": "fp4"})"));
  EXPECT_EQ("t: blocksize: expected a power of two from 32 to 4096, got 48",
            message(R"({"quant_type": "nf4", "blocksize": 48})"));
  EXPECT_EQ("t: shape: expected [rows, columns], got [2]",
            message(R"({"quant_type": "nf4", "blocksize": 64, "shape": [2]})"));
  EXPECT_EQ("t: shape: expected [rows, columns], got [2,-1]",
            message(R"({"quant_type": "nf4", "blocksize": 64, "shape": [2, -1]})"));
  EXPECT_EQ("t: nested_blocksize: expected 256, got 128",
            message(head + R"(, "nested_blocksize": 128})"));
  EXPECT_EQ("t: nested_blocksize: expected 256, got nothing",
            message(head + R"(, "nested_offset": 0.5})"));
  EXPECT_EQ("t: nested_dtype: expected \"float32\", got \"float16\"",
            message(head + R"(, "nested_blocksize": 256, "nested_dtype": "float16"})"));
  const std::string nested = head + R"(, "nested_blocksize": 256, "nested_dtype": "float32")";
  EXPECT_NE(std::string::npos, message(nested + "}").find("nested_offset: expected a number"));
  EXPECT_NE(std::string::npos, message(nested + R"(, "nested_offset": 1e39})").find("1e+39"));
  // Python writes NaN, which is no JSON.
  EXPECT_NE("", message(nested + R"(, "nested_offset": NaN})"));
}

}  // namespace
}  // namespace fptq::model
