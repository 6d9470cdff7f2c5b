#include "calib/residual_stream.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/weights.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::calib {
namespace {

using model::BlockInput;
using model::DecoderBlock;
using testing::make_tiny_model;
using testing::memory_checkpoint;

TEST(SequenceBatches, HoldWholeSequences) {
  const std::vector<std::size_t> lengths = {3, 4, 9, 1, 2};
  const std::vector<SequenceBatch> batches = sequence_batches(lengths, 8);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(batches[0].lengths, (std::vector<std::size_t>{3, 4}));
  EXPECT_EQ(batches[1].first_row, 7U);
  EXPECT_EQ(batches[1].lengths, (std::vector<std::size_t>{9}));
  EXPECT_EQ(batches[2].first_row, 16U);
  EXPECT_EQ(batches[2].rows, 3U);
}

class ResidualStreamTest : public testing::TemporaryDirectoryTest {
 protected:
  ResidualStreamTest() : checkpoint_(memory_checkpoint(make_tiny_model({.layers = 3}))), pool_(2) {
    auto model = model::LlamaModel::load(checkpoint_, {.pool = &pool_});
    config_ = model->config();
    Rng rng(4);
    for (const std::size_t length : lengths_) {
      for (std::size_t i = 0; i < length; ++i) {
        ids_.push_back(static_cast<std::int32_t>(rng.below(config_.vocab_size)));
      }
    }
    run_model(*model);
  }

  // The forward pass of each sequence: what is in seen_ by tap, all sequences together.
  void run_model(model::LlamaModel& model) {
    std::size_t first = 0;
    for (const std::size_t length : lengths_) {
      auto cache = model.new_cache(length);
      const model::SequenceInput input{.ids = std::span(ids_).subspan(first, length),
                                       .cache = &*cache,
                                       .logits = model::LogitsWanted::kNone};
      ASSERT_TRUE(model.forward(
          std::span(&input, 1), {},
          [&](std::string_view name, const float* values, std::size_t rows, std::size_t cols) {
            auto& all = seen_[std::string(name)];
            all.insert(all.end(), values, values + rows * cols);
          }));
      first += length;
    }
  }

  DecoderBlock block(std::size_t layer) {
    return *DecoderBlock::load(*checkpoint_, config_, layer, {.pool = &pool_});
  }

  ResidualStream stream() {
    const auto embedding = model::bind_embedding(*checkpoint_, config_, {.pool = &pool_});
    auto made = ResidualStream::create(root_, "float", config_, *embedding, ids_, pool_);
    EXPECT_TRUE(made) << made.error().message;
    return *std::move(made);
  }

  std::vector<float> inputs(ResidualStream& stream, DecoderBlock& block, BlockInput which) const {
    const std::size_t width = model::block_input_width(config_, which);
    std::vector<float> all(ids_.size() * width);
    for (const SequenceBatch& batch : batches_) {
      stream.input(block, batch, which, &all[batch.first_row * width]);
    }
    return all;
  }

  void run_attention(ResidualStream& stream, DecoderBlock& block) const {
    for (const SequenceBatch& batch : batches_) {
      ASSERT_TRUE(stream.compute_attention(block, batch));
    }
  }

  void run_rest(ResidualStream& stream, DecoderBlock& block) const {
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(stream.add_attention(block, batch));
    stream.attention_is_added();
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(stream.compute_hidden(block, batch));
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(stream.add_mlp(block, batch));
    ASSERT_TRUE(stream.finish_block());
  }

  std::vector<float> residual(const ResidualStream& stream) const {
    std::vector<float> h(ids_.size() * config_.hidden_size);
    for (const SequenceBatch& batch : batches_) {
      std::copy_n(stream.residual(batch), batch.rows * config_.hidden_size,
                  &h[batch.first_row * config_.hidden_size]);
    }
    return h;
  }

  std::size_t files() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(root_)) {
      ++count;
    }
    return count;
  }

  std::shared_ptr<const io::Checkpoint> checkpoint_;
  ThreadPool pool_;
  model::LlamaConfig config_;
  std::vector<std::size_t> lengths_ = {5, 8, 3, 6};
  std::vector<SequenceBatch> batches_ = sequence_batches(lengths_, 10);
  std::vector<std::int32_t> ids_;
  std::map<std::string, std::vector<float>> seen_;
};

TEST_F(ResidualStreamTest, CarriesTheForwardPassFromBlockToBlock) {
  ResidualStream carried = stream();
  for (std::size_t layer = 0; layer < config_.num_layers; ++layer) {
    const std::string name = "block" + std::to_string(layer);
    DecoderBlock now = block(layer);
    EXPECT_EQ(inputs(carried, now, BlockInput::kAttention), seen_.at(name + ".attn_norm"));
    run_attention(carried, now);
    EXPECT_EQ(inputs(carried, now, BlockInput::kOutput), seen_.at(name + ".o_proj.in"));
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(carried.add_attention(now, batch));
    carried.attention_is_added();
    EXPECT_EQ(inputs(carried, now, BlockInput::kMlp), seen_.at(name + ".mlp_norm"));
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(carried.compute_hidden(now, batch));
    EXPECT_EQ(inputs(carried, now, BlockInput::kDown), seen_.at(name + ".down_proj.in"));
    EXPECT_EQ(inputs(carried, now, BlockInput::kMlp), seen_.at(name + ".mlp_norm")) << "again";
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(carried.add_mlp(now, batch));
    ASSERT_TRUE(carried.finish_block());
    EXPECT_EQ(residual(carried), seen_.at(name));
    EXPECT_EQ(files(), 4U) << "the entry, room for the next one, attended and hidden rows";
  }
  carried.remove();
  EXPECT_EQ(files(), 0U);
}

TEST_F(ResidualStreamTest, GoesOnFromWhatWasDurableLast) {
  {
    ResidualStream carried = stream();
    DecoderBlock first = block(0);
    run_attention(carried, first);
    run_rest(carried, first);
    ASSERT_TRUE(carried.sync_entry());
    DecoderBlock second = block(1);
    run_attention(carried, second);
    carried.entry_is_durable();
    run_rest(carried, second);
    EXPECT_EQ(files(), 4U) << "what is durable, the entry, attended and hidden rows";
    DecoderBlock third = block(2);
    run_attention(carried, third);
    for (const SequenceBatch& batch : batches_) ASSERT_TRUE(carried.add_attention(third, batch));
    EXPECT_EQ(files(), 5U);
  }
  auto resumed = ResidualStream::resume(root_, "float", config_, ids_.size(), 1, pool_);
  ASSERT_TRUE(resumed) << resumed.error().message;
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(residual(*resumed), seen_.at("block0"));
  DecoderBlock second = block(1);
  run_attention(*resumed, second);
  run_rest(*resumed, second);
  EXPECT_EQ(residual(*resumed), seen_.at("block1"));
  EXPECT_EQ(files(), 4U);
  resumed->entry_is_durable();
  EXPECT_EQ(files(), 3U) << "the entry, attended and hidden rows";
  resumed->remove();
  EXPECT_EQ(files(), 0U);
}

TEST_F(ResidualStreamTest, DoesNotResumeFromAFileOfAnotherSize) {
  stream();
  const auto resumed = ResidualStream::resume(root_, "float", config_, ids_.size() + 1, 0, pool_);
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().kind, Error::Kind::kFormat);
}

}  // namespace
}  // namespace fptq::calib
