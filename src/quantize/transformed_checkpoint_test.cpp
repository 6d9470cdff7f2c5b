// Transformations leave the function of a model alone.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/llama_model.h"
#include "quantize/down_rotated_checkpoint.h"
#include "quantize/equalized_checkpoint.h"
#include "quantize/rotated_checkpoint.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

using model::BlockInput;
using testing::TinyOptions;

ThreadPool& pool() {
  static ThreadPool two(2);
  return two;
}

model::LlamaConfig config_of(const io::Checkpoint& checkpoint) {
  auto config = model::parse_llama_config(checkpoint.config(), "tiny");
  EXPECT_TRUE(config) << config.error().message;
  return *std::move(config);
}

std::vector<float> logits(const io::Checkpoint& checkpoint) {
  auto model =
      model::LlamaModel::load({std::shared_ptr<const void>(), &checkpoint}, {.pool = &pool()});
  EXPECT_TRUE(model) << model.error().message;
  if (!model) return {};
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 24; ++i) ids.push_back(3 + 11 * i);
  auto cache = model->new_cache(ids.size());
  std::vector<float> out(ids.size() * model->config().vocab_size);
  const model::SequenceInput input{
      .ids = ids, .cache = &*cache, .logits = model::LogitsWanted::kAll};
  EXPECT_TRUE(model->forward(std::span(&input, 1), out));
  return out;
}

// max |a - b| / max |a|.
double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  double difference = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i])));
    difference =
        std::max(difference, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return difference / most;
}

// Float32 sums of K terms are off by some sqrt(K) * 2^-24 of their size. A logit goes through about
// 8 of them per block in sequence, K <= 100, each off by 2^-20.7 at most, and errors of blocks
// add up: 2 blocks give 16 * 2^-20.7 = 1e-5. Softmax and SiLU multiply errors by at most the size
// of their inputs, below 10 here.
constexpr double kRoundingBound = 1e-4;

std::vector<TinyOptions> models() {
  return {
      {},
      {.tied = false},
      {.heads = 6, .kv_heads = 3, .head_dim = 10, .hidden = 36, .ffn = 50},
      {.heads = 4, .kv_heads = 1, .head_dim = 14, .hidden = 30, .attention_bias = true},
      {.hidden = 48, .tied = false, .attention_bias = true, .mlp_bias = true},
      {.dtype = DType::kBF16},
      {.tied = false, .mlp_bias = true, .dtype = DType::kF16},
  };
}

InputScales random_scales(const model::LlamaConfig& config) {
  InputScales scales;
  Rng rng(5);
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    for (const BlockInput input : {BlockInput::kAttention, BlockInput::kMlp}) {
      std::vector<float>& factors = scales[{layer, input}];
      for (std::size_t k = 0; k < config.hidden_size; ++k) {
        factors.push_back(static_cast<float>(std::exp2(rng.normal() * 3)));
      }
    }
  }
  return scales;
}

TEST(DownRotatedCheckpoint, ComputesWhatTheOriginalComputes) {
  const std::vector<std::size_t> layers = {0, 1};
  for (const TinyOptions& options : models()) {
    const auto base = testing::memory_checkpoint(testing::make_tiny_model(options));
    const auto rotated = DownRotatedCheckpoint::create(*base, config_of(*base), layers, pool());
    ASSERT_TRUE(rotated) << rotated.error().message;
    const double distance = relative_distance(logits(*base), logits(**rotated));
    EXPECT_LT(distance, kRoundingBound);
    EXPECT_GT(distance, 0) << "nothing was rotated";
  }
}

TEST(DownRotatedCheckpoint, TurnsTheNamedLayersAndSaysSo) {
  const auto base = testing::memory_checkpoint(testing::make_tiny_model({.dtype = DType::kBF16}));
  const std::vector<std::size_t> layers = {1};
  const auto made = DownRotatedCheckpoint::create(*base, config_of(*base), layers, pool());
  ASSERT_TRUE(made) << made.error().message;
  const io::Checkpoint& rotated = **made;
  EXPECT_EQ((*made)->block(), 32U);
  EXPECT_EQ(config_of(rotated).down_rotations, (std::vector<std::size_t>{0, 32}));
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  EXPECT_EQ(rotated.find(name)->kept_as, DType::kBF16);
  const std::vector<float> before = base->read(name)->to_f32();
  const std::vector<float> after = rotated.read(name)->to_f32();
  // The second channel of the first block, by the definition: signs alternate.
  double sum = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const double value = before[i];
    sum += i % 2 == 0 ? value : -value;
  }
  EXPECT_NEAR(sum / std::sqrt(32.0), after[1], 1e-6);
  const std::string other = "model.layers.0.mlp.down_proj.weight";
  EXPECT_EQ(rotated.read(other)->to_f32(), base->read(other)->to_f32());
}

TEST(DownRotatedCheckpoint, RefusesAnOddWidth) {
  const auto base = testing::memory_checkpoint(testing::make_tiny_model({.ffn = 77}));
  const std::vector<std::size_t> layers = {0, 1};
  const auto made = DownRotatedCheckpoint::create(*base, config_of(*base), layers, pool());
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("rotate_down: expected an even intermediate_size, got 77"),
            std::string::npos);
}

TEST(EqualizedCheckpoint, ComputesWhatTheOriginalComputes) {
  for (const TinyOptions& options : models()) {
    const auto base = testing::memory_checkpoint(testing::make_tiny_model(options));
    const model::LlamaConfig config = config_of(*base);
    const auto equalized = EqualizedCheckpoint::create(*base, config, random_scales(config));
    ASSERT_TRUE(equalized) << equalized.error().message;
    EXPECT_LT(relative_distance(logits(*base), logits(**equalized)), kRoundingBound);
  }
}

TEST(EqualizedCheckpoint, DividesTheNormInItsTypeAndMultipliesTheLinearsBehindIt) {
  auto model = testing::make_tiny_model({.dtype = DType::kBF16});
  const auto base = testing::memory_checkpoint(model);
  std::vector<float> factors(64, 1.0f);
  factors[3] = 3.0f;
  const auto made =
      EqualizedCheckpoint::create(*base, config_of(*base), {{{1, BlockInput::kMlp}, factors}});
  ASSERT_TRUE(made) << made.error().message;
  const io::Checkpoint& equalized = **made;
  const std::string norm = "model.layers.1.post_attention_layernorm.weight";
  const std::string up = "model.layers.1.mlp.up_proj.weight";
  EXPECT_EQ(equalized.find(norm)->dtype, DType::kBF16);
  EXPECT_EQ(equalized.find(up)->dtype, DType::kF32);
  EXPECT_EQ(equalized.find(up)->kept_as, DType::kBF16);
  const float before = base->read(norm)->to_f32()[3];
  const float after = equalized.read(norm)->to_f32()[3];
  EXPECT_EQ(after, bf16_to_f32(f32_to_bf16(before / 3.0f)));
  EXPECT_EQ(equalized.read(up)->to_f32()[64 + 3],
            base->read(up)->to_f32()[64 + 3] * (before / after));
  for (const char* same :
       {"model.layers.0.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight"}) {
    EXPECT_EQ(equalized.read(same)->to_f32(), base->read(same)->to_f32());
    EXPECT_FALSE(equalized.find(same)->kept_as);
  }
}

TEST(EqualizedCheckpoint, LeavesChannelsAloneWhoseNormCannotBeDivided) {
  const std::string norm = "model.layers.0.input_layernorm.weight";
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    auto model = testing::make_tiny_model({.dtype = dtype});
    if (dtype == DType::kF32) *model.find(norm) = testing::with_element(*model.find(norm), 5, 0.0f);
    const auto base = testing::memory_checkpoint(model);
    std::vector<float> factors(64, 1.0f);
    if (dtype == DType::kF32) factors[5] = 100.0f;       // of a norm weight that is zero
    factors[6] = dtype == DType::kF16 ? 1e6f : 3e38f;    // leaves nothing of it
    factors[7] = dtype == DType::kF16 ? 1e-6f : 1e-39f;  // more than the type can hold
    const auto made = EqualizedCheckpoint::create(*base, config_of(*base),
                                                  {{{0, BlockInput::kAttention}, factors}});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ((*made)->read(norm)->to_f32(), base->read(norm)->to_f32());
    EXPECT_EQ((*made)->read(q)->to_f32(), base->read(q)->to_f32());
  }
}

TEST(EqualizedCheckpoint, NamesTheFactorThatIsNone) {
  const auto base = testing::memory_checkpoint(testing::make_tiny_model({}));
  for (const float bad : {0.0f, -1.0f, INFINITY, NAN}) {
    std::vector<float> factors(64, 1.0f);
    factors[7] = bad;
    const auto made = EqualizedCheckpoint::create(*base, config_of(*base),
                                                  {{{1, BlockInput::kAttention}, factors}});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind, Error::Kind::kInvalidArgument);
    EXPECT_EQ(made.error().message,
              "factors of model.layers.1.input_layernorm.weight: channel 7: expected a finite "
              "number above 0, got " +
                  std::to_string(bad));
  }
  const auto behind_nothing = EqualizedCheckpoint::create(
      *base, config_of(*base), {{{0, BlockInput::kDown}, std::vector<float>(96, 1.0f)}});
  EXPECT_FALSE(behind_nothing);
}

TEST(EqualizedCheckpoint, SaysWhereAWeightIsNotFinite) {
  auto model = testing::make_tiny_model({});
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  *model.find(q) = testing::with_element(*model.find(q), 9, INFINITY);
  const auto base = testing::memory_checkpoint(model);
  const auto made =
      EqualizedCheckpoint::create(*base, config_of(*base), random_scales(config_of(*base)));
  ASSERT_TRUE(made);
  const auto read = (*made)->read(q);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message,
            "tiny.safetensors: tensor \"" + q + "\": element 9: expected a finite number, got inf");
}

TEST(RotatedCheckpoint, ComputesWhatTheOriginalComputes) {
  for (const TinyOptions& options : models()) {
    const auto base = testing::memory_checkpoint(testing::make_tiny_model(options));
    const auto rotated = RotatedCheckpoint::create(*base, config_of(*base), 4, pool());
    ASSERT_TRUE(rotated) << rotated.error().message;
    EXPECT_LT(relative_distance(logits(*base), logits(**rotated)), kRoundingBound);
  }
}

TEST(RotatedCheckpoint, ComputesWhatTheOriginalComputesWithANormWeightOfZero) {
  auto model = testing::make_tiny_model({.tied = false});
  for (const char* norm : {"model.layers.1.input_layernorm.weight", "model.norm.weight"}) {
    *model.find(norm) = testing::with_element(*model.find(norm), 5, 0.0f);
  }
  const auto base = testing::memory_checkpoint(model);
  const auto rotated = RotatedCheckpoint::create(*base, config_of(*base), 4, pool());
  ASSERT_TRUE(rotated);
  EXPECT_LT(relative_distance(logits(*base), logits(**rotated)), kRoundingBound);
}

TEST(RotatedCheckpoint, CanBeEqualized) {
  const auto base = testing::memory_checkpoint(testing::make_tiny_model({.tied = true}));
  const auto rotated = RotatedCheckpoint::create(*base, config_of(*base), 4, pool());
  ASSERT_TRUE(rotated);
  const model::LlamaConfig config = config_of(**rotated);
  const auto equalized = EqualizedCheckpoint::create(**rotated, config, random_scales(config));
  ASSERT_TRUE(equalized);
  EXPECT_LT(relative_distance(logits(*base), logits(**equalized)), kRoundingBound);
}

TEST(RotatedCheckpoint, UntiesTheClassifierAndMakesNormsOnes) {
  const auto base = testing::memory_checkpoint(testing::make_tiny_model({.dtype = DType::kBF16}));
  const auto made = RotatedCheckpoint::create(*base, config_of(*base), 0, pool());
  ASSERT_TRUE(made);
  const io::Checkpoint& rotated = **made;
  EXPECT_EQ(base->find("lm_head.weight"), nullptr);
  EXPECT_EQ(rotated.config()["tie_word_embeddings"], false);
  ASSERT_EQ(rotated.warnings().size(), 1U);
  EXPECT_NE(rotated.warnings()[0].find("the output holds both"), std::string::npos);
  ASSERT_NE(rotated.find("lm_head.weight"), nullptr);
  EXPECT_EQ(rotated.find("lm_head.weight")->kept_as, DType::kBF16);
  for (const char* norm : {"model.layers.0.post_attention_layernorm.weight", "model.norm.weight"}) {
    EXPECT_EQ(rotated.find(norm)->dtype, DType::kBF16);
    EXPECT_EQ(rotated.read(norm)->to_f32(), std::vector<float>(64, 1.0f));
  }
  EXPECT_TRUE(std::is_sorted(
      rotated.tensors().begin(), rotated.tensors().end(),
      [](const io::TensorInfo& a, const io::TensorInfo& b) { return a.name < b.name; }));
}

TEST(RotatedCheckpoint, SpreadsAnOutlierAndGivesTheSameBytesForAnyNumberOfThreads) {
  auto model = testing::make_tiny_model({});
  const std::string up = "model.layers.0.mlp.up_proj.weight";
  *model.find(up) = testing::with_element(*model.find(up), 70, 50.0f);
  const auto base = testing::memory_checkpoint(model);
  ThreadPool one(1);
  const auto first = RotatedCheckpoint::create(*base, config_of(*base), 9, one);
  const auto second = RotatedCheckpoint::create(*base, config_of(*base), 9, pool());
  for (const io::TensorInfo& info : (*first)->tensors()) {
    EXPECT_EQ((*first)->read(info.name)->to_f32(), (*second)->read(info.name)->to_f32());
  }
  const std::vector<float> rotated = (*first)->read(up)->to_f32();
  EXPECT_LT(*std::max_element(rotated.begin(), rotated.end()), 15.0f);
}

TEST(RotatedCheckpoint, NamesTheTensorThatIsMissing) {
  auto model = testing::make_tiny_model({});
  model.erase("model.layers.1.input_layernorm.weight");
  const auto base = testing::memory_checkpoint(model);
  const auto rotated = RotatedCheckpoint::create(*base, config_of(*base), 0, pool());
  ASSERT_FALSE(rotated);
  EXPECT_EQ(rotated.error().message,
            "tiny: tensor \"model.layers.1.input_layernorm.weight\": expected floats of [64] from "
            "config.json, got no such tensor");
}

}  // namespace
}  // namespace fptq::quantize
