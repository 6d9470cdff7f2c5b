#include "model/decoder_block.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/weights.h"
#include "numeric/quantizer.h"
#include "ops/activations.h"
#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

using testing::make_tiny_model;
using testing::memory_checkpoint;

std::vector<std::int32_t> random_ids(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng.below(320));
  return ids;
}

void expect_steps_of_forward_pass(const std::shared_ptr<const io::Checkpoint>& checkpoint) {
  ThreadPool pool(2);
  const LoadOptions options{.pool = &pool};
  auto model = LlamaModel::load(checkpoint, options);
  ASSERT_TRUE(model) << model.error().message;
  const LlamaConfig& config = model->config();
  const std::vector<std::vector<std::int32_t>> texts = {random_ids(7, 1), random_ids(19, 2),
                                                        random_ids(1, 3)};
  std::vector<std::size_t> lengths;
  std::vector<std::int32_t> ids;
  std::vector<KvCache> caches;
  for (const auto& text : texts) {
    lengths.push_back(text.size());
    ids.insert(ids.end(), text.begin(), text.end());
    caches.push_back(*model->new_cache(text.size()));
  }
  std::vector<SequenceInput> batch;
  for (std::size_t s = 0; s < texts.size(); ++s) {
    batch.push_back({.ids = texts[s], .cache = &caches[s], .logits = LogitsWanted::kLast});
  }
  std::map<std::string, std::vector<float>> seen;
  std::vector<float> logits(texts.size() * config.vocab_size);
  ASSERT_TRUE(model->forward(
      batch, logits,
      [&](std::string_view name, const float* values, std::size_t rows, std::size_t cols) {
        seen[std::string(name)].assign(values, values + rows * cols);
      }));

  const std::size_t rows = ids.size();
  auto embedding = bind_embedding(*checkpoint, config, options);
  ASSERT_TRUE(embedding);
  std::vector<float> h(rows * config.hidden_size);
  embedding->lookup(ids, h.data());
  EXPECT_EQ(h, seen.at("embed"));
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    auto block = DecoderBlock::load(*checkpoint, config, layer, options);
    ASSERT_TRUE(block) << block.error().message;
    const std::string name = "block" + std::to_string(layer);
    std::vector<float> x(h.size());
    std::vector<float> attended(rows * config.q_width());
    std::vector<float> hidden(rows * config.intermediate_size);
    block->attention_input(h.data(), rows, x.data());
    EXPECT_EQ(x, seen.at(name + ".attn_norm"));
    ASSERT_TRUE(block->attend(x.data(), lengths, attended.data()));
    EXPECT_EQ(attended, seen.at(name + ".o_proj.in"));
    block->add_attention(attended.data(), rows, h.data());
    block->mlp_input(h.data(), rows, x.data());
    EXPECT_EQ(x, seen.at(name + ".mlp_norm"));
    block->mlp_hidden(x.data(), rows, hidden.data());
    EXPECT_EQ(hidden, seen.at(name + ".down_proj.in"));
    block->add_mlp(hidden.data(), rows, h.data());
    EXPECT_EQ(h, seen.at(name));
  }
}

// All steps of a block on rows of noise: what attention gave, the hidden layer, and the end.
std::vector<float> run_block(std::span<const std::size_t> lengths, std::size_t threads) {
  const auto checkpoint = memory_checkpoint(make_tiny_model({.max_positions = 512}));
  ThreadPool pool(threads);
  const auto config = LlamaModel::load(checkpoint, {.pool = &pool})->config();
  auto block = DecoderBlock::load(*checkpoint, config, 1, {.pool = &pool});
  const std::size_t rows = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
  std::vector<float> h(rows * config.hidden_size);
  Rng rng(5);
  for (float& value : h) value = static_cast<float>(rng.normal());
  std::vector<float> x(h.size());
  std::vector<float> attended(rows * config.q_width());
  std::vector<float> hidden(rows * config.intermediate_size);
  block->attention_input(h.data(), rows, x.data());
  EXPECT_TRUE(block->attend(x.data(), lengths, attended.data()));
  block->add_attention(attended.data(), rows, h.data());
  block->mlp_input(h.data(), rows, x.data());
  block->mlp_hidden(x.data(), rows, hidden.data());
  block->add_mlp(hidden.data(), rows, h.data());
  std::vector<float> all = attended;
  all.insert(all.end(), hidden.begin(), hidden.end());
  all.insert(all.end(), h.begin(), h.end());
  return all;
}

TEST(DecoderBlock, GivesTheSameBitsOnEveryNumberOfThreads) {
  // Fewer sequences than threads and more of them, rows of more than a tile, rows for few threads.
  for (const std::vector<std::size_t>& lengths :
       {std::vector<std::size_t>{300}, {150, 1, 40}, {1, 2, 3, 4, 5, 6, 7}}) {
    const std::vector<float> expected = run_block(lengths, 1);
    for (const std::size_t threads : {2U, 3U, 5U}) {
      EXPECT_EQ(run_block(lengths, threads), expected)
          << threads << " threads, " << lengths.size() << " sequences";
    }
  }
}

TEST(DecoderBlock, StepsGiveTheForwardPassBitForBit) {
  expect_steps_of_forward_pass(memory_checkpoint(make_tiny_model(
      {.layers = 3, .max_positions = 64, .attention_bias = true, .mlp_bias = true})));
}

TEST(DecoderBlock, StepsGiveTheForwardPassWithRotatedInputsOfDown) {
  expect_steps_of_forward_pass(memory_checkpoint(
      make_tiny_model({.config = {{"quantization_config",
                                   R"({"quant_method": "compressed-tensors", "config_groups": {},
                       "transform_config": {"config_groups": {"R4": {"type": "hadamard",
                           "head_dim": 32, "apply": [{"targets": "re:.*down_proj$",
                                                      "location": "input"}]}}}})"}}})));
}

TEST(DecoderBlock, NamesItsLinearsAndWhatTheyRead) {
  EXPECT_EQ(block_module_name(3, BlockLinear::kUp), "model.layers.3.mlp.up_proj");
  EXPECT_EQ(block_input_of(BlockLinear::kK), BlockInput::kAttention);
  EXPECT_EQ(block_input_of(BlockLinear::kO), BlockInput::kOutput);
  EXPECT_EQ(block_input_of(BlockLinear::kGate), BlockInput::kMlp);
  EXPECT_EQ(block_input_of(BlockLinear::kDown), BlockInput::kDown);
  std::size_t readers = 0;
  for (const BlockInput input : kBlockInputs) readers += readers_of(input).size();
  EXPECT_EQ(readers, kBlockLinears.size());
}

TEST(DecoderBlock, RunsALinearThatReplacedAnother) {
  const auto checkpoint = memory_checkpoint(make_tiny_model({}));
  ThreadPool pool(1);
  const auto config = LlamaModel::load(checkpoint, {.pool = &pool})->config();
  auto block = DecoderBlock::load(*checkpoint, config, 1, {.pool = &pool});
  ASSERT_TRUE(block);
  const Shape shape = block_linear_shape(config, BlockLinear::kDown);
  auto zeros = Tensor::from_f32(shape, std::vector<float>(shape[0] * shape[1], 0.0f));
  auto linear = ops::Linear::dense(*zeros, std::nullopt, best_isa());
  ASSERT_TRUE(linear);
  block->set_linear(BlockLinear::kDown, *std::move(linear));
  std::vector<float> h(2 * config.hidden_size, 0.5f);
  const std::vector<float> before = h;
  const std::vector<float> hidden(2 * config.intermediate_size, 1.0f);
  block->add_mlp(hidden.data(), 2, h.data());
  EXPECT_EQ(h, before);
}

TEST(FakeQuantize, GivesTheValuesOfTheCodes) {
  ThreadPool pool(2);
  Rng rng(9);
  const std::size_t rows = 21;
  const std::size_t cols = 70;
  std::vector<float> x(rows * cols);
  for (float& value : x) value = static_cast<float>(rng.normal());
  for (const bool symmetric : {true, false}) {
    std::vector<float> out(x.size());
    ops::fake_quantize(x.data(), rows, cols, {.symmetric = symmetric}, best_isa(), pool,
                       out.data());
    for (std::size_t row = 0; row < rows; ++row) {
      const QuantizedRow expected =
          quantize_row_dynamic(std::span(x).subspan(row * cols, cols), symmetric);
      for (std::size_t col = 0; col < cols; ++col) {
        const Grid grid{expected.scale, expected.zero_point};
        EXPECT_EQ(out[row * cols + col], dequantize_value(expected.codes[col], grid));
      }
    }
  }
}

}  // namespace
}  // namespace fptq::model
