#include "io/gguf_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <vector>

#include "base/file.h"
#include "io/gguf_llama.h"
#include "support/gguf_builder.h"
#include "support/temporary_directory.h"
#include "support/test_data.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

using testing::append_number;
using testing::GgufBuilder;

constexpr std::uint32_t kF32 = 0;

// `count` float32 numbers first, first + 1, ...
std::string floats(std::size_t count, float first = 0) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) append_number(bytes, first + static_cast<float>(i));
  return bytes;
}

// The keys of a model of width 8, 2 heads, 1 key-value head, 1 layer.
GgufBuilder llama_keys() {
  GgufBuilder builder;
  builder.text("general.architecture", "llama")
      .u32("llama.context_length", 64)
      .u32("llama.embedding_length", 8)
      .u32("llama.block_count", 1)
      .u32("llama.feed_forward_length", 4)
      .u32("llama.attention.head_count", 2)
      .u32("llama.attention.head_count_kv", 1)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return builder;
}

GgufBuilder& add_tensors(GgufBuilder& builder) {
  return builder.tensor("token_embd.weight", {8, 5}, kF32, floats(40))
      .tensor("blk.0.attn_q.weight", {8, 8}, kF32, floats(64))
      .tensor("blk.0.attn_k.weight", {8, 4}, kF32, floats(32))
      .tensor("blk.0.attn_v.weight", {8, 4}, kF32, floats(32));
}

class GgufCheckpointTest : public testing::TemporaryDirectoryTest {
 protected:
  Result<std::unique_ptr<Checkpoint>> open(const GgufBuilder& builder) {
    EXPECT_TRUE(write_text_file(root_ / "m.gguf", builder.build()));
    return open_checkpoint(root_ / "m.gguf");
  }
  Json config(const GgufBuilder& builder) {
    const auto model = open(builder);
    EXPECT_TRUE(model) << model.error().message;
    return model ? (*model)->config() : Json();
  }
  // The message with which the file is refused, its path left out.
  std::string refusal(const GgufBuilder& builder, Error::Kind kind) {
    const auto model = open(builder);
    if (model) return "accepted";
    EXPECT_EQ(kind, model.error().kind);
    return model.error().message.substr((root_ / "m.gguf").string().size() + 2);
  }
};

TEST_F(GgufCheckpointTest, DerivesTheConfiguration) {
  GgufBuilder builder = llama_keys();
  builder.f32("llama.rope.freq_base", 500000.0f).u32("tokenizer.ggml.bos_token_id", 1);
  const Json expected = {{"architectures", Json::array({"LlamaForCausalLM"})},
                         {"model_type", "llama"},
                         {"hidden_size", 8},
                         {"intermediate_size", 4},
                         {"num_hidden_layers", 1},
                         {"num_attention_heads", 2},
                         {"num_key_value_heads", 1},
                         {"head_dim", 4},
                         {"vocab_size", 5},
                         {"max_position_embeddings", 64},
                         {"hidden_act", "silu"},
                         {"rms_norm_eps", 1e-5},
                         {"rope_theta", 500000.0},
                         {"rope_scaling", nullptr},
                         {"attention_bias", false},
                         {"mlp_bias", false},
                         {"tie_word_embeddings", true},
                         {"torch_dtype", "float32"},
                         {"bos_token_id", 1}};
  EXPECT_EQ(expected, config(add_tensors(builder)));
}

TEST_F(GgufCheckpointTest, SeesBiasesAndAClassifierOfItsOwn) {
  GgufBuilder builder = llama_keys();
  add_tensors(builder)
      .tensor("blk.0.attn_q.bias", {8}, kF32, floats(8))
      .tensor("blk.0.ffn_down.bias", {8}, kF32, floats(8))
      .tensor("output.weight", {8, 5}, kF32, floats(40));
  const Json derived = config(builder);
  EXPECT_EQ(true, derived["attention_bias"]);
  EXPECT_EQ(true, derived["mlp_bias"]);
  EXPECT_EQ(false, derived["tie_word_embeddings"]);
}

TEST_F(GgufCheckpointTest, GivesHuggingFacesNamesAndRowOrder) {
  GgufBuilder builder = llama_keys();
  add_tensors(builder).tensor("blk.0.attn_q.bias", {8}, kF32, floats(8));
  const auto model = open(builder);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ("gguf", (*model)->container());
  const std::string layer = "model.layers.0.self_attn.";
  const auto query = (*model)->read(layer + "q_proj.weight");
  ASSERT_TRUE(query);
  std::vector<float> first_of_row;
  for (std::size_t row = 0; row < 8; ++row) first_of_row.push_back(query->to_f32()[row * 8] / 8);
  EXPECT_EQ((std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}), first_of_row);
  EXPECT_EQ((std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}),
            (*model)->read(layer + "q_proj.bias")->to_f32());
  EXPECT_EQ(16.0f, (*model)->read(layer + "k_proj.weight")->to_f32()[8]);
  EXPECT_EQ(8.0f, (*model)->read(layer + "v_proj.weight")->to_f32()[8]);
  (*model)->release(layer + "v_proj.weight");
  EXPECT_FALSE((*model)->read("blk.0.attn_q.weight"));
}

TEST_F(GgufCheckpointTest, DequantizesBlocks) {
  GgufBuilder builder = llama_keys();
  add_tensors(builder).tensor("blk.0.ffn_down.weight", {32, 2}, 8,
                              std::string("\x00\x40", 2) + std::string(32, '\x03') +
                                  std::string("\x00\x3c", 2) + std::string(32, '\xff'));
  const auto model = open(builder);
  ASSERT_TRUE(model) << model.error().message;
  const TensorInfo* info = (*model)->find("model.layers.0.mlp.down_proj.weight");
  ASSERT_NE(nullptr, info);
  EXPECT_EQ("Q8_0", info->stored_type);
  EXPECT_EQ(68U, info->stored_bytes);
  EXPECT_EQ(DType::kF32, info->dtype);
  const auto values = (*model)->read(info->name)->to_f32();
  EXPECT_EQ(6.0f, values[0]);
  EXPECT_EQ(-1.0f, values[63]);
}

TEST_F(GgufCheckpointTest, ReadsRopeScaling) {
  const auto scaling = [&](GgufBuilder builder) {
    return config(add_tensors(builder))["rope_scaling"];
  };
  EXPECT_EQ(Json(), scaling(llama_keys().text("llama.rope.scaling.type", "none")));
  EXPECT_EQ((Json{{"rope_type", "linear"}, {"factor", 4.0}}),
            scaling(llama_keys()
                        .text("llama.rope.scaling.type", "linear")
                        .f32("llama.rope.scaling.factor", 4.0f)));
  EXPECT_EQ((Json{{"rope_type", "linear"}, {"factor", 2.5}}),
            scaling(llama_keys().f32("llama.rope.scale_linear", 2.5f)));
  EXPECT_EQ(
      (Json{{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}}),
      scaling(llama_keys()
                  .text("llama.rope.scaling.type", "yarn")
                  .f32("llama.rope.scaling.factor", 4.0f)
                  .u32("llama.rope.scaling.original_context_length", 32)));
}

TEST_F(GgufCheckpointTest, NamesWhatItDoesNotCompute) {
  const auto refused = [&](GgufBuilder builder) {
    return refusal(add_tensors(builder), Error::Kind::kUnsupported);
  };
  EXPECT_EQ("architecture \"qwen2\" is not supported",
            refused(GgufBuilder().text("general.architecture", "qwen2")));
  EXPECT_EQ("a mixture of experts is not supported",
            refused(llama_keys().u32("llama.expert_count", 8)));
  EXPECT_EQ("rotary embedding of 2 of 4 dimensions of a head is not supported",
            refused(llama_keys().u32("llama.rope.dimension_count", 2)));
  EXPECT_EQ("attention with keys of width 4 and values of width 8 is not supported",
            refused(llama_keys().u32("llama.attention.value_length", 8)));
  EXPECT_EQ("sliding-window attention is not supported",
            refused(llama_keys().u32("llama.attention.sliding_window", 32)));
  EXPECT_EQ("attention that is not causal is not supported",
            refused(llama_keys().boolean("llama.attention.causal", false)));
  EXPECT_EQ("RoPE scaling \"longrope\" is not supported",
            refused(llama_keys().text("llama.rope.scaling.type", "longrope")));
  GgufBuilder extra = llama_keys();
  add_tensors(extra).tensor("blk.0.ffn_gate_inp.weight", {8, 5}, kF32, floats(40));
  EXPECT_EQ(
      "tensor \"blk.0.ffn_gate_inp.weight\": expected a tensor of a Llama model, got one that is "
      "not supported",
      refusal(extra, Error::Kind::kUnsupported));
}

TEST_F(GgufCheckpointTest, NamesAKeyThatIsMissingOrOfAnotherType) {
  const auto refused = [&](GgufBuilder builder) {
    return refusal(add_tensors(builder), Error::Kind::kFormat);
  };
  EXPECT_EQ("metadata key \"general.architecture\": expected it in the file, got none",
            refused(GgufBuilder()));
  EXPECT_EQ("metadata key \"llama.embedding_length\": expected it in the file, got none",
            refused(GgufBuilder().text("general.architecture", "llama")));
  EXPECT_EQ("metadata key \"llama.attention.key_length\": expected an integer >= 0, got string",
            refused(llama_keys().text("llama.attention.key_length", "4")));
  EXPECT_EQ("metadata key \"llama.attention.key_length\": expected an integer >= 0, got int32",
            refused(llama_keys().number<std::int32_t>("llama.attention.key_length", 5, -4)));
  EXPECT_EQ("metadata key \"llama.rope.freq_base\": expected a float, got uint32",
            refused(llama_keys().u32("llama.rope.freq_base", 10000)));
  GgufBuilder no_embedding = llama_keys();
  EXPECT_EQ("tensor \"token_embd.weight\": expected a matrix, got no tensor",
            refusal(no_embedding, Error::Kind::kFormat));
}

TEST_F(GgufCheckpointTest, NamesAProjectionWhoseRowsDoNotFitTheHeads) {
  GgufBuilder builder = llama_keys();
  builder.tensor("token_embd.weight", {8, 5}, kF32, floats(40))
      .tensor("blk.0.attn_q.weight", {8, 7}, kF32, floats(56));
  const auto model = open(builder);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((root_ / "m.gguf").string() +
                ": tensor \"blk.0.attn_q.weight\": expected rows for 2 heads of an even width, got "
                "shape [7, 8]",
            (*model)->read("model.layers.0.self_attn.q_proj.weight").error().message);
}

TEST_F(GgufCheckpointTest, ReadsASplitModelFromItsFirstPart) {
  const auto part = [](std::uint16_t number, GgufBuilder builder) {
    return builder.number<std::uint16_t>("split.no", 2, number)
        .number<std::uint16_t>("split.count", 2, 2);
  };
  GgufBuilder first = part(0, llama_keys());
  GgufBuilder second = part(1, GgufBuilder());
  const fs::path first_path = root_ / "m-00001-of-00002.gguf";
  const fs::path second_path = root_ / "m-00002-of-00002.gguf";
  ASSERT_TRUE(write_text_file(first_path, add_tensors(first).build()));
  EXPECT_EQ(second_path.string() +
                ": expected this part of 2, got no file. Download the model completely",
            open_checkpoint(first_path).error().message);
  second.tensor("output.weight", {8, 5}, kF32, floats(40, 7));
  ASSERT_TRUE(write_text_file(second_path, second.build()));
  for (const fs::path& path : {first_path, root_}) {
    const auto model = open_checkpoint(path);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(false, (*model)->config()["tie_word_embeddings"]);
    EXPECT_EQ(7.0f, (*model)->read("lm_head.weight")->to_f32()[0]);
    EXPECT_EQ(second_path.string(), (*model)->find("lm_head.weight")->file);
    EXPECT_EQ(fs::file_size(first_path) + fs::file_size(second_path),
              (*model)->weight_file_bytes());
  }
  EXPECT_EQ(second_path.string() + ": this is part 2 of 2. Give the first, m-00001-of-00002.gguf",
            open_checkpoint(second_path).error().message);
  fs::rename(first_path, root_ / "x.gguf");
  EXPECT_EQ((root_ / "x.gguf").string() +
                ": expected a file name that ends in -00001-of-00002.gguf, as the metadata says of "
                "this part of a split model",
            open_checkpoint(root_ / "x.gguf").error().message);
}

TEST_F(GgufCheckpointTest, RefusesATensorInTwoParts) {
  GgufBuilder first = llama_keys();
  first.u32("split.no", 0).u32("split.count", 2);
  GgufBuilder second;
  second.u32("split.no", 1).u32("split.count", 2);
  second.tensor("token_embd.weight", {8, 5}, kF32, floats(40));
  ASSERT_TRUE(write_text_file(root_ / "m-00001-of-00002.gguf", add_tensors(first).build()));
  ASSERT_TRUE(write_text_file(root_ / "m-00002-of-00002.gguf", second.build()));
  EXPECT_EQ((root_ / "m-00002-of-00002.gguf").string() +
                ": tensor \"token_embd.weight\": expected it in one part, got it in two",
            open_checkpoint(root_ / "m-00001-of-00002.gguf").error().message);
}

TEST_F(GgufCheckpointTest, SaysWhenThereIsNoVocabulary) {
  GgufBuilder builder = llama_keys();
  const auto model = open(add_tensors(builder));
  ASSERT_TRUE(model);
  EXPECT_EQ((root_ / "m.gguf").string() +
                ": expected a vocabulary in tokenizer.ggml.tokens, got none. Convert the model "
                "again together with its tokenizer",
            (*model)->tokenizer().error().message);
}

// The factors that llama.cpp's converter writes, in float32.
std::vector<float> llama3_factors(std::size_t head_dim, double theta, double factor,
                                  double context) {
  std::vector<float> factors;
  for (std::size_t i = 0; i < head_dim / 2; ++i) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(theta, 2 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double smooth = (context / wavelength - 1) / 3;
    factors.push_back(static_cast<float>(wavelength < context / 4 ? 1
                                         : wavelength > context
                                             ? factor
                                             : 1 / ((1 - smooth) / factor + smooth)));
  }
  return factors;
}

TEST(FitLlama3Rope, FindsTheParametersBehindTheFactors) {
  for (const double factor : {8.0, 32.0, 2.5}) {
    for (const double context : {8192.0, 4096.0, 32.0, 131072.0}) {
      const auto fitted = fit_llama3_rope(llama3_factors(128, 500000, factor, context), 500000);
      ASSERT_TRUE(fitted) << factor << " " << context;
      EXPECT_EQ(factor, fitted->factor);
      EXPECT_EQ(context, static_cast<double>(fitted->original_context));
    }
  }
}

TEST(FitLlama3Rope, FindsNothingBehindOtherFactors) {
  auto factors = llama3_factors(128, 500000, 8, 8192);
  factors[40] *= 1.001f;
  EXPECT_FALSE(fit_llama3_rope(factors, 500000));
  EXPECT_FALSE(fit_llama3_rope(llama3_factors(128, 500000, 8, 8192), 10000));
  EXPECT_FALSE(fit_llama3_rope({}, 10000));
  EXPECT_FALSE(fit_llama3_rope(std::vector<float>{1, std::nanf("")}, 10000));
}

TEST_F(GgufCheckpointTest, TurnsRopeFactorsIntoLlama3Scaling) {
  const auto with_factors = [](const std::vector<float>& factors) {
    std::string bytes;
    for (const float factor : factors) append_number(bytes, factor);
    GgufBuilder builder = llama_keys();
    return add_tensors(builder).tensor("rope_freqs.weight", {factors.size()}, kF32, bytes);
  };
  const Json scaling = config(with_factors(llama3_factors(4, 10000, 8, 32)))["rope_scaling"];
  EXPECT_EQ("llama3", scaling["rope_type"]);
  EXPECT_EQ(8.0, scaling["factor"]);
  EXPECT_EQ(32, scaling["original_max_position_embeddings"]);
  EXPECT_EQ(Json(), config(with_factors({1, 1}))["rope_scaling"]);
  EXPECT_EQ(
      "tensor \"rope_freqs.weight\": expected the factors of llama3's RoPE scaling (low and high "
      "frequency factors 1 and 4), got others",
      refusal(with_factors({3, 2}), Error::Kind::kUnsupported));
  EXPECT_EQ("tensor \"rope_freqs.weight\": expected 2 factors, got 3",
            refusal(with_factors({1, 1, 8}), Error::Kind::kFormat));
}

TEST(HfNameOfGguf, KnowsLlamasTensorsOnly) {
  EXPECT_EQ("model.layers.31.mlp.up_proj.weight", hf_name_of_gguf("blk.31.ffn_up.weight"));
  EXPECT_EQ("model.layers.0.post_attention_layernorm.weight",
            hf_name_of_gguf("blk.0.ffn_norm.weight"));
  EXPECT_EQ("lm_head.weight", hf_name_of_gguf("output.weight"));
  for (const std::string name :
       {"blk.01.ffn_up.weight", "blk..ffn_up.weight", "blk.x.ffn_up.weight", "blk.0.ffn_up",
        "blk.0.ffn_up.scale", "blk.0", "output.bias", ""}) {
    EXPECT_EQ(std::nullopt, hf_name_of_gguf(name)) << name;
  }
}

TEST(GgufCheckpointGolden, HoldsTheWeightsOfTheModelThatItWasMadeFrom) {
  FPTQ_REQUIRE_TEST_DATA("golden/formats/gguf");
  const auto source = open_checkpoint(testing::test_data_dir() / "models/stories-656k");
  ASSERT_TRUE(source) << source.error().message;
  // Largest error as a part of a tensor's largest value. f16: half a step of 2^-10. q8_0: half a
  // step of 1/127, and 2^-11 for the scale in float16. q4_0: a step of 1/8, since +8 is clamped.
  const std::vector<std::pair<std::string, float>> files = {
      {"f16", 0x1p-11f}, {"q8_0", 1.0f / 254 + 0x1p-11f}, {"q4_0", 0.126f}};
  for (const auto& [name, bound] : files) {
    const auto model = open_checkpoint(testing::test_data_dir() / "golden/formats/gguf" /
                                       ("stories-656k." + name + ".gguf"));
    ASSERT_TRUE(model) << model.error().message;
    ASSERT_EQ((*source)->tensors().size(), (*model)->tensors().size());
    for (const char* key :
         {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
          "num_key_value_heads", "vocab_size", "max_position_embeddings", "rms_norm_eps",
          "rope_theta", "tie_word_embeddings", "bos_token_id", "eos_token_id"}) {
      EXPECT_EQ((*source)->config()[key], (*model)->config()[key]) << key;
    }
    for (const TensorInfo& info : (*source)->tensors()) {
      const auto expected = (*source)->read(info.name)->to_f32();
      // The source stores its tied matrix under the classifier's name.
      const bool shared = info.name == "lm_head.weight";
      const auto tensor = (*model)->read(shared ? "model.embed_tokens.weight" : info.name);
      ASSERT_TRUE(tensor) << tensor.error().message;
      ASSERT_EQ(info.shape, tensor->shape()) << info.name;
      const auto values = tensor->to_f32();
      float largest = 0, error = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        error = std::max(error, std::abs(values[i] - expected[i]));
      }
      EXPECT_LE(error, largest * bound) << name << " " << info.name;
    }
    EXPECT_TRUE((*model)->tokenizer());
  }
}

}  // namespace
}  // namespace fptq::io
