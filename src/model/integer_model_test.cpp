// The integer arithmetic of a whole model against an oracle that has nothing in common with it
// (support/fake_quant_llama.h), on random codes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/llama_model.h"
#include "support/fake_quant_llama.h"
#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

using testing::ActivationGrid;
using testing::FakeQuantLlama;
using testing::OracleAgreement;
using testing::TinyModel;
using testing::TinyOptions;

struct Case {
  const char* name;
  std::size_t group_size;  // 0: a scale per channel
  int num_bits;            // of weights
  bool symmetric_weights;
  bool symmetric_activations;
  bool biases;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

constexpr Case kCases[] = {
    {"w4g32_a8t", 32, 4, true, true, false},
    {"w4g32_asymmetric_a8t", 32, 4, false, true, true},
    {"w4g32_asymmetric_a8t_asymmetric", 32, 4, false, false, false},
    {"w4c_asymmetric_a8t", 0, 4, false, true, false},
    {"w8c_a8t", 0, 8, true, true, false},
    {"w8c_asymmetric_a8t", 0, 8, false, true, false},
    {"w8c_a8t_asymmetric", 0, 8, true, false, true},
};

Json quantization_config(const Case& c) {
  Json config = Json::parse(R"({
    "quant_method": "compressed-tensors", "ignore": ["lm_head"],
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {},
      "input_activations": {"num_bits": 8, "strategy": "token", "dynamic": true}}}})");
  config["format"] = c.num_bits == 4 ? "pack-quantized" : "int-quantized";
  Json& group = config["config_groups"]["group_0"];
  group["weights"]["num_bits"] = c.num_bits;
  group["weights"]["symmetric"] = c.symmetric_weights;
  group["weights"]["strategy"] = c.group_size == 0 ? "channel" : "group";
  if (c.group_size != 0) group["weights"]["group_size"] = c.group_size;
  group["input_activations"]["symmetric"] = c.symmetric_activations;
  return config;
}

template <typename T>
Tensor integer_tensor(DType dtype, const Shape& shape, const std::vector<T>& values) {
  auto fresh = Tensor::create(dtype, shape);
  EXPECT_TRUE(fresh && fresh->tensor.bytes().size() == values.size() * sizeof(T));
  std::memcpy(fresh->data, values.data(), values.size() * sizeof(T));
  return fresh->tensor;
}

// Codes that are uniform over their whole range, and scales under which weights [rows, cols] keep
// activations near 1.
void add_random_linear(TinyModel& model, const std::string& module, std::size_t rows,
                       std::size_t cols, const Case& c, Rng& rng) {
  const auto code_count = static_cast<std::uint64_t>(1) << c.num_bits;
  const std::size_t groups = c.group_size == 0 ? 1 : cols / c.group_size;
  if (c.num_bits == 4) {
    std::vector<std::uint32_t> words(rows * cols / 8);
    for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(rng.bits());
    model.tensors.emplace_back(module + ".weight_packed",
                               integer_tensor(DType::kI32, {rows, cols / 8}, words));
    const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(rows),
                                             static_cast<std::int64_t>(cols)};
    model.tensors.emplace_back(module + ".weight_shape", integer_tensor(DType::kI64, {2}, shape));
  } else {
    std::vector<std::int8_t> codes(rows * cols);
    for (std::int8_t& code : codes) code = static_cast<std::int8_t>(rng.bits());
    model.tensors.emplace_back(module + ".weight", integer_tensor(DType::kI8, {rows, cols}, codes));
  }
  const double deviation = static_cast<double>(code_count) / std::sqrt(12.0);
  std::vector<float> scales(rows * groups);
  for (float& scale : scales) {
    scale = static_cast<float>((0.5 + rng.uniform()) * 1.5 / deviation /
                               std::sqrt(static_cast<double>(cols)));
  }
  model.tensors.emplace_back(module + ".weight_scale", testing::f32_tensor({rows, groups}, scales));
  if (c.symmetric_weights) return;
  // Within a quarter of the range, so that weights are not all of one sign.
  std::vector<std::int8_t> zero_points(rows * groups);
  for (std::int8_t& zero : zero_points) {
    zero = static_cast<std::int8_t>(static_cast<int>(rng.below(code_count / 2)) -
                                    static_cast<int>(code_count / 4));
  }
  model.tensors.emplace_back(module + ".weight_zero_point",
                             integer_tensor(DType::kI8, {rows, groups}, zero_points));
}

// A tiny model whose decoder's linears have random codes.
TinyModel quantized_model(const Case& c, std::uint64_t seed) {
  TinyOptions options;
  options.seed = seed;
  options.tied = false;
  options.attention_bias = c.biases;
  options.mlp_bias = c.biases;
  Rng rng(seed + 1000);
  TinyModel model;
  TinyModel source = testing::make_tiny_model(options);
  model.config = source.config;
  model.config["quantization_config"] = quantization_config(c);
  for (const auto& [name, tensor] : source.tensors) {
    if (name.ends_with("_proj.weight")) {
      const std::string module = name.substr(0, name.size() - std::strlen(".weight"));
      add_random_linear(model, module, tensor.rows(), tensor.cols(), c, rng);
    } else {
      model.tensors.emplace_back(name, tensor);
    }
  }
  return model;
}

std::vector<float> engine_logits(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                                 std::span<const std::int32_t> ids) {
  ThreadPool pool(2);
  auto model = LlamaModel::load(checkpoint, {.pool = &pool});
  if (!model) {
    ADD_FAILURE() << model.error().message;
    return {};
  }
  auto cache = model->new_cache(ids.size());
  EXPECT_TRUE(cache);
  std::vector<float> logits(ids.size() * model->config().vocab_size);
  const SequenceInput input{.ids = ids, .cache = &*cache, .logits = LogitsWanted::kAll};
  EXPECT_TRUE(model->forward(std::span(&input, 1), logits));
  return logits;
}

class IntegerModel : public ::testing::TestWithParam<Case> {};

TEST_P(IntegerModel, HasTheLogitsOfItsDequantizedWeightsAndActivations) {
  // As a part of the largest |logit|. Reached: 5e-7, with one tie
  // rounded the other way at most; an error of 1e-5 in the activations' scale gives 1e-2.
  constexpr double kTolerance = 2e-6;
  std::size_t flips = 0;
  std::size_t ties = 0;
  double worst = 0;
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto checkpoint = testing::memory_checkpoint(quantized_model(GetParam(), seed));
    Rng rng(seed);
    std::vector<std::int32_t> ids(32);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng.below(320));
    const std::vector<float> logits = engine_logits(checkpoint, ids);
    ASSERT_FALSE(logits.empty());
    double largest = 0.0;
    for (const float logit : logits) largest = std::max(largest, std::abs(double{logit}));

    FakeQuantLlama oracle(*checkpoint, GetParam().symmetric_activations
                                           ? ActivationGrid::kSymmetric
                                           : ActivationGrid::kAsymmetric);
    const OracleAgreement agreement =
        testing::compare_with_oracle(oracle, ids, logits, kTolerance * largest);
    EXPECT_LE(agreement.worst, kTolerance * largest);
    worst = std::max(worst, agreement.worst / largest);
    flips += agreement.flips;
    ties += agreement.ties;
  }
  RecordProperty("worst", std::to_string(worst * 1e6) + "e-6");
  RecordProperty("flips", std::to_string(flips));
  RecordProperty("ties", std::to_string(ties));
  EXPECT_LE(flips, 3u) << "of " << ties << " ties";
}

INSTANTIATE_TEST_SUITE_P(Schemes, IntegerModel, ::testing::ValuesIn(kCases),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace fptq::model
