#include "bench/bench.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/random_checkpoint.h"
#include "quantize/down_rotated_checkpoint.h"

namespace fptq::bench {
namespace {

Json tiny_config(bool tied) {
  return {{"model_type", "llama"},      {"hidden_size", 64},
          {"intermediate_size", 96},    {"num_hidden_layers", 2},
          {"num_attention_heads", 4},   {"num_key_value_heads", 2},
          {"vocab_size", 300},          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},       {"hidden_act", "silu"},
          {"tie_word_embeddings", tied}};
}

model::LlamaModel load_random(const Json& config, std::string_view weights, ThreadPool& pool) {
  const auto scheme = parse_scheme(weights);
  EXPECT_TRUE(scheme);
  auto checkpoint = random_checkpoint(config, *scheme, /*seed=*/1);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  model::LoadOptions options;
  options.pool = &pool;
  auto model = model::LlamaModel::load(*std::move(checkpoint), options);
  EXPECT_TRUE(model) << model.error().message;
  return *std::move(model);
}

TEST(Spread, IsMedianSmallestAndLargest) {
  const Spread odd = spread_of({3.0, 1.0, 2.0});
  EXPECT_EQ(odd.median, 2.0);
  EXPECT_EQ(odd.min, 1.0);
  EXPECT_EQ(odd.max, 3.0);
  EXPECT_EQ(spread_of({4.0, 1.0, 2.0, 8.0}).median, 3.0);
}

TEST(RandomCheckpoint, LoadsInEverySchemeItOffers) {
  ThreadPool pool(1);
  for (const char* weights :
       {"w4g32", "w4g32-sym", "w4g128", "w4c", "w4c-asym", "w8c", "w8c-asym", "bf16"}) {
    for (const bool tied : {false, true}) {
      SCOPED_TRACE(weights);
      model::LlamaModel model = load_random(tiny_config(tied), weights, pool);
      EXPECT_EQ(model.config().num_layers, 2u);
      EXPECT_EQ(model.bytes().embedding == 0, tied);
    }
  }
}

TEST(RandomCheckpoint, KeepsRotationsOfInputs) {
  ThreadPool pool(1);
  Json config = tiny_config(true);
  const std::vector<std::size_t> layers = {1};
  config["quantization_config"] = {
      {"quant_method", "replaced"},
      {"transform_config", quantize::down_rotation_config(32, layers, 2)}};
  for (const char* weights : {"w4g32", "bf16"}) {
    const model::LlamaModel model = load_random(config, weights, pool);
    EXPECT_EQ(model.config().down_rotations, (std::vector<std::size_t>{0, 32})) << weights;
  }
}

// What docs/formats/compressed-tensors.md says of the files that `fptq quantize` writes.
TEST(RandomCheckpoint, HasTheLayoutOfFilesThatQuantizeWrites) {
  const std::string module = "model.layers.1.mlp.down_proj";
  const auto packed = random_checkpoint(tiny_config(true), *parse_scheme("w4g32"), 1);
  ASSERT_TRUE(packed) << packed.error().message;
  const auto shape_of = [&](const auto& checkpoint, const std::string& suffix, DType dtype) {
    const io::TensorInfo* info = (*checkpoint)->find(module + suffix);
    if (info == nullptr) return Shape{};
    EXPECT_EQ(dtype, info->dtype) << suffix;
    return info->shape;
  };
  EXPECT_EQ((Shape{64, 12}), shape_of(packed, ".weight_packed", DType::kI32));
  EXPECT_EQ((Shape{64, 3}), shape_of(packed, ".weight_scale", DType::kBF16));
  EXPECT_EQ((Shape{64, 3}), shape_of(packed, ".weight_zero_point", DType::kI8));
  const auto stored = (*packed)->read(module + ".weight_shape");
  ASSERT_TRUE(stored);
  const std::array<std::int64_t, 2> expected = {64, 96};
  EXPECT_EQ(0, std::memcmp(expected.data(), stored->bytes().data(), sizeof expected));
  const Json& config = (*packed)->config()["quantization_config"];
  EXPECT_NE(std::string::npos, config.dump().find(R"("block_structure":[1,32])")) << config;
  EXPECT_NE(nullptr, (*packed)->find("lm_head.weight_scale"));
  EXPECT_EQ(nullptr, (*packed)->find("lm_head.weight"));

  const auto bytes = random_checkpoint(tiny_config(true), *parse_scheme("w8c"), 1);
  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_EQ((Shape{64, 96}), shape_of(bytes, ".weight", DType::kI8));
  EXPECT_EQ((Shape{64, 1}), shape_of(bytes, ".weight_scale", DType::kBF16));
  EXPECT_EQ(nullptr, (*bytes)->find(module + ".weight_packed"));
}

TEST(RandomCheckpoint, HasTheSameTensorsForTheSameSeed) {
  const auto scheme = parse_scheme("w4g32");
  ASSERT_TRUE(scheme);
  const auto one = random_checkpoint(tiny_config(true), *scheme, 7);
  const auto same = random_checkpoint(tiny_config(true), *scheme, 7);
  const auto other = random_checkpoint(tiny_config(true), *scheme, 8);
  ASSERT_TRUE(one && same && other);
  const auto bytes = [](const auto& checkpoint) {
    const auto tensor = (*checkpoint)->read("model.layers.1.mlp.up_proj.weight_packed");
    EXPECT_TRUE(tensor);
    return std::vector<std::byte>(tensor->bytes().begin(), tensor->bytes().end());
  };
  EXPECT_EQ(bytes(one), bytes(same));
  EXPECT_NE(bytes(one), bytes(other));
}

TEST(RandomCheckpoint, MakesModelsOfTableCodes) {
  for (const char* name : {"nf4", "fp4b32"}) {
    const auto scheme = parse_scheme(name);
    ASSERT_TRUE(scheme);
    const auto made = random_checkpoint(tiny_config(true), *scheme, 1);
    ASSERT_TRUE(made) << made.error().message;
    ThreadPool pool(1);
    model::LoadOptions options;
    options.pool = &pool;
    const auto model = model::LlamaModel::load(*made, options);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(scheme_name(*scheme), model->scheme());
  }
}

TEST(RandomCheckpoint, RefusesTablesWithQuantizedActivations) {
  const auto result = random_checkpoint(tiny_config(true), *parse_scheme("nf4-a8t"), 1);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, Error::Kind::kUnsupported);
}

TEST(ShapeConfig, KnowsPublishedShapesAndListsThem) {
  const auto config = shape_config("llama-3.2-1b");
  ASSERT_TRUE(config);
  EXPECT_EQ((*config)["hidden_size"], 2048);
  EXPECT_EQ((*config)["head_dim"], 64);
  const auto unknown = shape_config("llama-9");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message,
            "shape: expected llama-3.2-1b, llama-3.1-8b or the path of a config.json, got "
            "\"llama-9\"");
}

TEST(Bench, MeasuresEveryCombinationAndSaysWhatRan) {
  ThreadPool pool(1);
  model::LlamaModel model = load_random(tiny_config(true), "w4g32", pool);
  BenchOptions options;
  options.prompt_tokens = {4, 8};
  options.decode_tokens = 2;
  options.depths = {0, 3};
  options.batches = {1, 2};
  options.repeats = 1;
  const auto result = run_bench(model, pool, best_isa(), options);
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->prefill.size(), 2u);
  EXPECT_EQ(result->prefill[1].tokens, 8u);
  EXPECT_TRUE(result->prefill[1].fraction_of_int8_peak.has_value());
  ASSERT_EQ(result->decode.size(), 4u);
  EXPECT_EQ(result->decode[3].depth, 3u);
  EXPECT_EQ(result->decode[3].batch, 2u);

  const Json json = to_json(*result);
  for (const char* key : {"cpu", "isa", "threads", "dram_read_gb_s", "int8_gops", "f32_gflops"}) {
    EXPECT_TRUE(json["machine"].contains(key)) << key;
  }
  for (const char* key :
       {"tokens", "tok_s_median", "tok_s_min", "tok_s_max", "gops", "fraction_of_int8_peak"}) {
    EXPECT_TRUE(json["prefill"][0].contains(key)) << key;
  }
  for (const char* key :
       {"depth", "batch", "tok_s_median", "tok_s_min", "tok_s_max", "gb_s", "fraction_of_dram"}) {
    EXPECT_TRUE(json["decode"][0].contains(key)) << key;
  }
  for (const char* key : {"layer", "scheme", "kernel", "isa", "calls"}) {
    EXPECT_TRUE(json["receipt"][0].contains(key)) << key;
  }
}

TEST(Bench, GivesAFloatModelNoShareOfTheIntegerPeak) {
  ThreadPool pool(1);
  model::LlamaModel model = load_random(tiny_config(true), "bf16", pool);
  BenchOptions options;
  options.prompt_tokens = {4};
  options.decode_tokens = 0;
  options.repeats = 1;
  const auto result = run_bench(model, pool, best_isa(), options);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_FALSE(result->prefill[0].fraction_of_int8_peak.has_value());
  EXPECT_TRUE(to_json(*result)["prefill"][0]["fraction_of_int8_peak"].is_null());
  EXPECT_TRUE(result->decode.empty());
}

TEST(Bench, RefusesToMeasureNothing) {
  ThreadPool pool(1);
  model::LlamaModel model = load_random(tiny_config(true), "bf16", pool);
  BenchOptions options;
  options.repeats = 0;
  EXPECT_EQ(run_bench(model, pool, best_isa(), options).error().message,
            "bench: repeats: expected at least 1, got 0");
}

}  // namespace
}  // namespace fptq::bench
