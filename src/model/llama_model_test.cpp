#include "model/llama_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "numeric/quantizer.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

using testing::make_tiny_model;
using testing::memory_checkpoint;
using testing::TinyModel;
using testing::TinyOptions;

ThreadPool& one_thread() {
  static ThreadPool pool(1);
  return pool;
}

Result<LlamaModel> load(TinyModel model, ThreadPool& pool = one_thread(), Isa isa = best_isa()) {
  return LlamaModel::load(memory_checkpoint(std::move(model)), {.pool = &pool, .isa = isa});
}

LlamaModel load_ok(const TinyModel& model, ThreadPool& pool = one_thread(), Isa isa = best_isa()) {
  auto loaded = load(model, pool, isa);
  if (!loaded) ADD_FAILURE() << loaded.error().message;
  return *std::move(loaded);
}

std::string load_error(TinyModel model) {
  const auto loaded = load(std::move(model));
  return loaded ? "no error" : loaded.error().message;
}

std::vector<std::int32_t> random_ids(std::size_t count, std::uint64_t seed = 5) {
  Rng rng(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng.below(320));
  return ids;
}

// Logits of every token, fed in pieces.
std::vector<float> logits_of(LlamaModel& model, std::span<const std::int32_t> ids,
                             std::size_t piece = 4096, KvType kv = KvType::kF32) {
  const std::size_t vocabulary = model.config().vocab_size;
  std::vector<float> logits(ids.size() * vocabulary);
  auto cache = model.new_cache(ids.size(), kv);
  EXPECT_TRUE(cache);
  for (std::size_t begin = 0; begin < ids.size(); begin += piece) {
    const std::size_t count = std::min(piece, ids.size() - begin);
    const SequenceInput input{
        .ids = ids.subspan(begin, count), .cache = &*cache, .logits = LogitsWanted::kAll};
    const Status status = model.forward(
        std::span(&input, 1), std::span(logits).subspan(begin * vocabulary, count * vocabulary));
    EXPECT_TRUE(status) << status.error().message;
  }
  return logits;
}

// A tiny model whose linears are stored as int8 codes of 4-bit groups, embedding and classifier
// per channel.
TinyModel quantized_model() {
  TinyModel model = make_tiny_model();
  TinyModel result;
  result.config = model.config;
  result.config["quantization_config"] = Json::parse(R"({
    "quant_method": "compressed-tensors", "format": "int-quantized", "ignore": [],
    "config_groups": {
      "group_0": {"targets": ["Linear"],
        "weights": {"num_bits": 4, "symmetric": false, "strategy": "group", "group_size": 32},
        "input_activations": {"num_bits": 8, "strategy": "token", "dynamic": true}},
      "group_1": {"targets": ["Embedding"],
        "weights": {"num_bits": 8, "strategy": "channel"}},
      "group_2": {"targets": ["lm_head"],
        "weights": {"num_bits": 8, "strategy": "channel"},
        "input_activations": {"num_bits": 8, "strategy": "token", "dynamic": true}}}})");
  for (const auto& [name, tensor] : model.tensors) {
    if (tensor.shape().size() != 2) {
      result.tensors.emplace_back(name, tensor);
      continue;
    }
    const bool embedding = name == "model.embed_tokens.weight";
    const QuantArgs args = embedding ? int_weights(8, Strategy::kChannel, 0, true)
                                     : int_weights(4, Strategy::kGroup, 32, false);
    const QuantizedMatrix rounded =
        round_to_nearest(tensor.to_f32(), tensor.rows(), tensor.cols(), args, DType::kF32);
    const auto add_int8 = [&](const std::string& tensor_name, const Shape& shape,
                              const std::vector<std::int8_t>& values) {
      auto fresh = Tensor::create(DType::kI8, shape);
      ASSERT_TRUE(fresh);
      std::memcpy(fresh->data, values.data(), values.size());
      result.tensors.emplace_back(tensor_name, fresh->tensor);
    };
    const Shape groups = {rounded.rows, rounded.groups()};
    add_int8(name, {rounded.rows, rounded.cols}, rounded.codes);
    result.tensors.emplace_back(name + "_scale", testing::f32_tensor(groups, rounded.scales));
    if (!args.symmetric) add_int8(name + "_zero_point", groups, rounded.zero_points);
  }
  return result;
}

// The same with packed codes that are all 0, and zero points of the given type and shape.
TinyModel packed_model(DType zero_dtype, bool zero_points_packed) {
  TinyModel model = quantized_model();
  model.config["quantization_config"]["config_groups"]["group_0"]["format"] = "pack-quantized";
  for (auto& [name, tensor] : model.tensors) {
    if (!name.ends_with("_proj.weight") && !name.ends_with("_proj.weight_zero_point")) continue;
    const bool codes = name.ends_with(".weight");
    const Shape shape = codes                ? Shape{tensor.rows(), (tensor.cols() + 7) / 8}
                        : zero_points_packed ? Shape{(tensor.rows() + 7) / 8, tensor.cols()}
                                             : tensor.shape();
    auto fresh = Tensor::create(codes ? DType::kI32 : zero_dtype, shape);
    EXPECT_TRUE(fresh);
    std::memset(fresh->data, codes ? 0x88 : 0, fresh->tensor.bytes().size());
    if (codes) name += "_packed";
    tensor = fresh->tensor;
  }
  return model;
}

class Bits : public ::testing::TestWithParam<bool> {
 protected:
  static TinyModel model() { return GetParam() ? quantized_model() : make_tiny_model(); }
};

TEST_P(Bits, AreEqualWithAnyInstructionSetAndNumberOfThreads) {
  const std::vector<std::int32_t> ids = random_ids(70);
  LlamaModel scalar = load_ok(model(), one_thread(), Isa::kScalar);
  const std::vector<float> expected = logits_of(scalar, ids);
  for (const Isa isa : {Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kAmx, Isa::kNeon,
                        Isa::kI8mm, Isa::kScalar}) {
    if (!cpu_supports(isa)) continue;
    for (const std::size_t threads : {1u, 2u, 3u}) {
      ThreadPool pool(threads);
      LlamaModel other = load_ok(model(), pool, isa);
      EXPECT_EQ(expected, logits_of(other, ids)) << isa_name(isa) << ", " << threads << " threads";
    }
  }
}

TEST_P(Bits, DoNotDependOnHowTheInputIsSplit) {
  LlamaModel loaded = load_ok(model());
  const std::vector<std::int32_t> ids = random_ids(600);  // more than one pass
  const std::vector<float> whole = logits_of(loaded, ids);
  EXPECT_EQ(whole, logits_of(loaded, ids, 1));
  EXPECT_EQ(whole, logits_of(loaded, ids, 67));
}

TEST_P(Bits, DoNotDependOnTheOtherSequencesOfTheBatch) {
  LlamaModel loaded = load_ok(model());
  const std::size_t vocabulary = loaded.config().vocab_size;
  const std::vector<std::vector<std::int32_t>> texts = {random_ids(300, 1), random_ids(1, 2),
                                                        random_ids(290, 3)};
  std::vector<KvCache> caches;
  caches.reserve(texts.size());
  for (const auto& text : texts) caches.push_back(*loaded.new_cache(text.size()));
  const std::vector<SequenceInput> batch = {
      {.ids = texts[0], .cache = &caches[0], .logits = LogitsWanted::kAll},
      {.ids = texts[1], .cache = &caches[1], .logits = LogitsWanted::kNone},
      {.ids = texts[2], .cache = &caches[2], .logits = LogitsWanted::kLast}};
  std::vector<float> together(301 * vocabulary);
  ASSERT_TRUE(loaded.forward(batch, together));
  std::vector<float> alone = logits_of(loaded, texts[0]);
  const std::vector<float> last = logits_of(loaded, texts[2]);
  alone.insert(alone.end(), last.end() - static_cast<std::ptrdiff_t>(vocabulary), last.end());
  EXPECT_EQ(alone, together);
  EXPECT_EQ(300u, caches[0].length());
  EXPECT_EQ(1u, caches[1].length());
}

INSTANTIATE_TEST_SUITE_P(Weights, Bits, ::testing::Values(false, true),
                         [](const auto& p) { return p.param ? "quantized" : "dense"; });

TEST(PackedModel, TakesZeroPointsThatArePackedAndThatAreNot) {
  EXPECT_EQ("no error", load_error(packed_model(DType::kI32, true)));
  EXPECT_EQ("no error", load_error(packed_model(DType::kI8, false)));
  const std::string bytes = load_error(packed_model(DType::kI8, true));
  EXPECT_NE(std::string::npos, bytes.find("expected I32 in this shape, got I8")) << bytes;
  const std::string words = load_error(packed_model(DType::kI32, false));
  EXPECT_NE(std::string::npos, words.find("expected I8 in this shape, got I32")) << words;
}

TEST(LlamaModel, KeepsATiedQuantizedEmbeddingOnce) {
  LlamaModel model = load_ok(quantized_model());
  EXPECT_EQ(0u, model.bytes().embedding);
  EXPECT_GE(model.bytes().classifier, 320u * 64u);
  EXPECT_LT(model.bytes().classifier, 320u * 64u * 5u / 4u);
  EXPECT_EQ("w4g32-a8t", model.scheme());
}

TEST(LlamaModel, SaysWhatExecutedEachLayer) {
  LlamaModel model = load_ok(quantized_model());
  (void)logits_of(model, random_ids(3));
  const std::vector<ReceiptEntry> receipt = model.receipt();
  ASSERT_EQ(1u + 2u * 7u + 1u, receipt.size());
  EXPECT_EQ("model.embed_tokens", receipt.front().layer);
  EXPECT_EQ("w8c", receipt.front().scheme);
  EXPECT_EQ("model.layers.0.self_attn.q_proj", receipt[1].layer);
  EXPECT_EQ("w4g32-a8t", receipt[1].scheme);
  EXPECT_EQ("w4a8_gemm", receipt[1].kernel);
  EXPECT_EQ(1u, receipt[1].calls);
  EXPECT_EQ("lm_head", receipt.back().layer);
  EXPECT_EQ("w8c-a8t", receipt.back().scheme);
}

TEST(LlamaModel, ComputesWithFloatActivationsWhereAsked) {
  auto model = LlamaModel::load(memory_checkpoint(quantized_model()),
                                {.pool = &one_thread(), .activations = ActivationMode::kFloat});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ("w4g32", model->scheme());
}

TEST(LlamaModel, NamesATensorOfAnotherShape) {
  TinyModel model = make_tiny_model();
  model.config["intermediate_size"] = 128;
  EXPECT_EQ(
      "tiny.safetensors: tensor \"model.layers.0.mlp.gate_proj.weight\": expected [128, 64] from "
      "config.json, got [96, 64]. Do config.json and the weights belong to the same model?",
      load_error(model));
}

TEST(LlamaModel, NamesAMissingTensor) {
  TinyModel model = make_tiny_model();
  model.erase("model.layers.1.self_attn.o_proj.weight");
  EXPECT_EQ(
      "tiny: tensor \"model.layers.1.self_attn.o_proj.weight\": expected [64, 64] from "
      "config.json, got no such tensor. Do config.json and the weights belong together?",
      load_error(model));
}

TEST(LlamaModel, NamesATensorThatTheConfigurationDoesNotHave) {
  TinyModel model = make_tiny_model({.attention_bias = true});
  model.config["attention_bias"] = false;
  EXPECT_EQ(
      "tiny.safetensors: tensor \"model.layers.0.self_attn.k_proj.bias\": expected no such tensor "
      "in the model that config.json describes, got one of shape [32]",
      load_error(model));
}

TEST(LlamaModel, NamesWeightsThatAreNotFinite) {
  TinyModel matrix = make_tiny_model();
  Tensor* weight = matrix.find("model.layers.0.mlp.up_proj.weight");
  *weight = testing::with_element(*weight, 2 * 64 + 3, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(
      "tiny.safetensors: tensor \"model.layers.0.mlp.up_proj.weight\": element [2, 3]: expected a "
      "finite number, got nan",
      load_error(matrix));

  TinyModel norm = make_tiny_model();
  Tensor* scale = norm.find("model.norm.weight");
  *scale = testing::with_element(*scale, 7, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(
      "tiny.safetensors: tensor \"model.norm.weight\": element [7]: expected a finite number, got "
      "-inf",
      load_error(norm));
}

// A checkpoint in memory that says that its tensors are large.
class LargeCheckpoint : public io::Checkpoint {
 public:
  explicit LargeCheckpoint(TinyModel model) : small_(memory_checkpoint(std::move(model))) {
    infos_.assign(small_->tensors().begin(), small_->tensors().end());
    for (io::TensorInfo& info : infos_) info.stored_bytes = std::uint64_t{1} << 40;
  }
  const std::filesystem::path& path() const override { return small_->path(); }
  std::string_view container() const override { return small_->container(); }
  const Json& config() const override { return small_->config(); }
  std::span<const io::TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override { return small_->read(name); }
  void release(std::string_view name) const override { small_->release(name); }
  Result<io::TokenizerFiles> tokenizer() const override { return small_->tokenizer(); }
  std::uint64_t weight_file_bytes() const override { return std::uint64_t{1} << 45; }
  std::span<const std::string> warnings() const override { return {}; }

 private:
  std::shared_ptr<const io::Checkpoint> small_;
  std::vector<io::TensorInfo> infos_;
};

TEST(LlamaModel, LooksThroughLargeModelsForWeightsThatAreNotFinite) {
  TinyModel model = make_tiny_model();
  Tensor* weight = model.find("model.layers.1.mlp.down_proj.weight");
  *weight = testing::with_element(*weight, 96, std::numeric_limits<float>::infinity());
  const auto loaded =
      LlamaModel::load(std::make_shared<LargeCheckpoint>(model), {.pool = &one_thread()});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(
      "tiny.safetensors: tensor \"model.layers.1.mlp.down_proj.weight\": element [1, 0]: expected "
      "a finite number, got inf",
      loaded.error().message);
}

TEST(LlamaModel, RoundsFloatWeightsOfScaleZeroToZero) {
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  TinyModel zero = make_tiny_model();
  *zero.find(name) = testing::f32_tensor({96, 64}, std::vector<float>(96 * 64));
  TinyModel quantized = zero;
  quantized.config["quantization_config"] = Json::parse(R"({
    "quant_method": "compressed-tensors", "format": "dense", "ignore": [],
    "config_groups": {"group_0": {"targets": ["model.layers.0.mlp.up_proj"],
        "weights": {"num_bits": 8, "strategy": "channel"}}}})");
  quantized.tensors.emplace_back(name + "_scale",
                                 testing::f32_tensor({96, 1}, std::vector<float>(96)));
  LlamaModel expected = load_ok(zero);
  LlamaModel loaded = load_ok(quantized);
  EXPECT_EQ(logits_of(expected, random_ids(5)), logits_of(loaded, random_ids(5)));
}

TEST(LlamaModel, RunsAClassifierThatIsShippedThoughTied) {
  TinyModel tied = make_tiny_model();
  Tensor other = testing::with_element(*tied.find("model.embed_tokens.weight"), 0, 9.0f);
  tied.tensors.emplace_back("lm_head.weight", other);
  LlamaModel shipped = load_ok(tied);
  ASSERT_EQ(1u, shipped.warnings().size());
  EXPECT_NE(std::string::npos, shipped.warnings()[0].find("ships another classifier"));

  tied.config["tie_word_embeddings"] = false;
  LlamaModel untied = load_ok(tied);
  EXPECT_EQ(logits_of(untied, random_ids(5)), logits_of(shipped, random_ids(5)));
}

TEST(LlamaModel, SharesAClassifierThatIsTheEmbedding) {
  TinyModel model = make_tiny_model();
  model.tensors.emplace_back("lm_head.weight", *model.find("model.embed_tokens.weight"));
  LlamaModel loaded = load_ok(model);
  EXPECT_TRUE(loaded.warnings().empty());
  EXPECT_EQ(0u, loaded.bytes().embedding);
}

// Models that are read from files, in which io finds the names that everybody else expects.
class LlamaModelFiles : public testing::TemporaryDirectoryTest {
 protected:
  LlamaModel load_written(const TinyModel& model) {
    EXPECT_TRUE(testing::write_tiny_checkpoint(root_ / "model", model, {}));
    auto checkpoint = io::open_checkpoint(root_ / "model");
    if (!checkpoint) ADD_FAILURE() << checkpoint.error().message;
    auto loaded = LlamaModel::load(*std::move(checkpoint), {.pool = &one_thread()});
    if (!loaded) ADD_FAILURE() << loaded.error().message;
    return *std::move(loaded);
  }
};

TEST_F(LlamaModelFiles, MayKeepTheTiedMatrixUnderTheClassifiersName) {
  TinyModel model = make_tiny_model();
  LlamaModel expected = load_ok(model);
  model.tensors.emplace_back("lm_head.weight", *model.find("model.embed_tokens.weight"));
  model.erase("model.embed_tokens.weight");
  LlamaModel renamed = load_written(model);
  EXPECT_EQ(logits_of(expected, random_ids(5)), logits_of(renamed, random_ids(5)));
}

// The same model with the names of a bare LlamaModel.
TinyModel without_prefix(TinyModel model) {
  for (auto& [name, tensor] : model.tensors) {
    if (name.starts_with("model.")) name.erase(0, 6);
  }
  return model;
}

TEST_F(LlamaModelFiles, MayNameTensorsFromTheBareModelOn) {
  const TinyModel model = make_tiny_model();
  LlamaModel expected = load_ok(model);
  LlamaModel renamed = load_written(without_prefix(model));
  EXPECT_EQ(logits_of(expected, random_ids(5)), logits_of(renamed, random_ids(5)));
}

TEST_F(LlamaModelFiles, MayNameQuantizedModulesFromTheBareModelOn) {
  TinyModel model = quantized_model();
  LlamaModel expected = load_ok(model);
  Json& groups = model.config["quantization_config"]["config_groups"];
  groups["group_0"]["targets"] = Json::array({"re:layers\\.[0-9]+\\..*", "layers.1.mlp.up_proj"});
  groups["group_1"]["targets"] = Json::array({"embed_tokens"});
  LlamaModel renamed = load_written(without_prefix(model));
  EXPECT_EQ(expected.scheme(), renamed.scheme());
  EXPECT_EQ(logits_of(expected, random_ids(5)), logits_of(renamed, random_ids(5)));
}

TEST(LlamaModel, RefusesToExceedTheMemoryLimit) {
  const auto loaded = LlamaModel::load(memory_checkpoint(quantized_model()),
                                       {.pool = &one_thread(), .ram_limit_bytes = 1000});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(Error::Kind::kLimit, loaded.error().kind);
}

TEST(LlamaModel, RefusesIdsOutsideTheVocabularyAndAFullCache) {
  LlamaModel model = load_ok(make_tiny_model());
  auto cache = model.new_cache(2);
  ASSERT_TRUE(cache);
  std::vector<float> logits(320);
  const auto error = [&](const std::vector<std::int32_t>& ids) {
    const SequenceInput input{.ids = ids, .cache = &*cache};
    return model.forward(std::span(&input, 1), logits).error().message;
  };
  EXPECT_EQ("forward: token 1: expected an id from 0 to 319, got 320", error({1, 320}));
  EXPECT_EQ(
      "forward: expected at most 2 more tokens in a cache for 2, got 3. Raise --ctx or shorten the "
      "text",
      error({1, 2, 3}));
  EXPECT_EQ("forward: sequence 0: expected at least 1 token, got none", error({}));
}

TEST(LlamaModel, SeesOnlyTheSlidingWindow) {
  TinyModel narrow = make_tiny_model({.layers = 1});
  narrow.config["model_type"] = "mistral";
  narrow.config["sliding_window"] = 4;
  LlamaModel model = load_ok(narrow);
  std::vector<std::int32_t> ids = random_ids(10);
  const std::vector<float> before = logits_of(model, ids);
  ids[5] = (ids[5] + 1) % 320;  // the last token sees positions 6 to 9
  const std::vector<float> after = logits_of(model, ids);
  EXPECT_TRUE(std::equal(before.end() - 320, before.end(), after.end() - 320));
  EXPECT_FALSE(std::equal(before.end() - 640, before.end() - 320, after.end() - 640));
}

TEST(KvCache, InNarrowTypesChangesLogitsALittle) {
  LlamaModel model = load_ok(make_tiny_model());
  const std::vector<std::int32_t> ids = random_ids(40);
  const std::vector<float> exact = logits_of(model, ids);
  for (const KvType type : {KvType::kBF16, KvType::kInt8}) {
    const std::vector<float> narrow = logits_of(model, ids, 4096, type);
    double error = 0.0;
    double size = 0.0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += std::abs(static_cast<double>(exact[i]) - static_cast<double>(narrow[i]));
      size += std::abs(static_cast<double>(exact[i]));
    }
    EXPECT_GT(error, 0.0);
    EXPECT_LT(error / size, 0.02);
  }
}

TEST(KvCache, ForgetsWhatIsTruncated) {
  LlamaModel model = load_ok(make_tiny_model());
  const std::vector<std::int32_t> ids = random_ids(12);
  auto cache = model.new_cache(12);
  ASSERT_TRUE(cache);
  const auto run = [&](std::span<const std::int32_t> part) {
    std::vector<float> logits(320);
    const SequenceInput input{.ids = part, .cache = &*cache};
    EXPECT_TRUE(model.forward(std::span(&input, 1), logits));
    return logits;
  };
  const std::vector<float> first = run(ids);
  cache->truncate(7);
  EXPECT_EQ(first, run(std::span(ids).subspan(7)));
}

TEST(KvCache, GoesOnFromACopyOfItsBeginning) {
  LlamaModel model = load_ok(make_tiny_model());
  const std::vector<std::int32_t> ids = random_ids(150);
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    const std::vector<float> expected = logits_of(model, ids, 4096, type);
    for (const std::size_t shared : {0U, 1U, 63U, 64U, 70U, 149U}) {
      auto source = model.new_cache(150, type);
      ASSERT_TRUE(source);
      std::vector<float> ignored(320);
      const SequenceInput whole{.ids = ids, .cache = &*source};
      ASSERT_TRUE(model.forward(std::span(&whole, 1), ignored));
      auto copy = model.new_cache(200, type);
      ASSERT_TRUE(copy);
      copy->copy_prefix(*source, shared);
      EXPECT_EQ(copy->length(), shared);
      std::vector<float> last(320);
      const SequenceInput rest{.ids = std::span(ids).subspan(shared), .cache = &*copy};
      ASSERT_TRUE(model.forward(std::span(&rest, 1), last));
      EXPECT_TRUE(std::equal(last.begin(), last.end(), expected.end() - 320)) << shared;
    }
  }
}

}  // namespace
}  // namespace fptq::model
