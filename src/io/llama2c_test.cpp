#include "io/llama2c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "io/checkpoint.h"
#include "io/rope_order.h"
#include "support/temporary_directory.h"
#include "support/test_data.h"

namespace fptq::io {
namespace {

using Llama2cCheckpointTest = testing::TemporaryDirectoryTest;

// dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len.
using Sizes = std::vector<std::int32_t>;
const Sizes kSizes = {8, 12, 2, 2, 1, 5, 3};
// What a model of kSizes has: embedding, two norms and four attention matrices and three of the
// feed-forward per layer, final norm.
constexpr std::size_t kWeights = 5 * 8 + 2 * (2 * 8 + 64 + 32 + 32 + 64 + 3 * 96) + 8;

std::string header_v0(const Sizes& sizes) {
  return {reinterpret_cast<const char*>(sizes.data()), 4 * sizes.size()};
}

std::string header_v1(const Sizes& sizes, bool tied, std::int32_t version = 1) {
  std::string header = "24ka";
  header.append(reinterpret_cast<const char*>(&version), 4);
  header += header_v0(sizes) + (tied ? '\1' : '\0');
  header.resize(256);
  return header;
}

// 0, 1, 2, ...: a value tells where in the file it was.
std::string floats(std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), 4);
  }
  return bytes;
}

Result<Llama2cFile> parse(const std::string& file) {
  return parse_llama2c(std::as_bytes(std::span(file)), "f");
}

std::string refusal(const std::string& file) {
  const auto parsed = parse(file);
  return parsed ? "accepted" : parsed.error().message;
}

// The index of the first float32 of each tensor, counted from the end of the header.
std::map<std::string, std::size_t> places(const Llama2cFile& file, std::size_t header_bytes) {
  std::map<std::string, std::size_t> first;
  for (const Llama2cTensor& tensor : file.tensors) {
    first[tensor.name] = (tensor.begin - header_bytes) / 4;
  }
  return first;
}

TEST(Llama2c, LaysOutVersionZeroAsRunDotCDoes) {
  Sizes untied = kSizes;
  untied[5] = -5;
  // Two tables of 3 positions times 2 frequencies stand before the classifier.
  const auto file = parse(header_v0(untied) + floats(kWeights + 12 + 40));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_FALSE(file->tied);
  EXPECT_EQ(5U, file->vocab_size);
  auto at = places(*file, 28);
  EXPECT_EQ(3U + 2 * 9, at.size());
  EXPECT_EQ(0U, at["model.embed_tokens.weight"]);
  EXPECT_EQ(40U, at["model.layers.0.input_layernorm.weight"]);
  EXPECT_EQ(48U, at["model.layers.1.input_layernorm.weight"]);
  EXPECT_EQ(56U + 64, at["model.layers.1.self_attn.q_proj.weight"]);
  EXPECT_EQ(184U, at["model.layers.0.self_attn.k_proj.weight"]);
  EXPECT_EQ(248U, at["model.layers.0.self_attn.v_proj.weight"]);
  EXPECT_EQ(312U, at["model.layers.0.self_attn.o_proj.weight"]);
  EXPECT_EQ(440U, at["model.layers.0.post_attention_layernorm.weight"]);
  EXPECT_EQ(456U, at["model.layers.0.mlp.gate_proj.weight"]);
  EXPECT_EQ(648U, at["model.layers.0.mlp.down_proj.weight"]);
  EXPECT_EQ(840U, at["model.layers.0.mlp.up_proj.weight"]);
  EXPECT_EQ(1032U, at["model.norm.weight"]);
  EXPECT_EQ(1040U + 12, at["lm_head.weight"]);
}

TEST(Llama2c, LaysOutVersionOneAsExportDotPyDoes) {
  const auto file = parse(header_v1(kSizes, false) + floats(kWeights + 40));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(1, file->version);
  auto at = places(*file, 256);
  EXPECT_EQ(0U, at["model.layers.0.input_layernorm.weight"]);
  EXPECT_EQ(16U, at["model.layers.0.post_attention_layernorm.weight"]);
  EXPECT_EQ(32U, at["model.norm.weight"]);
  EXPECT_EQ(40U, at["model.embed_tokens.weight"]);
  EXPECT_EQ(80U, at["model.layers.0.self_attn.q_proj.weight"]);
  EXPECT_EQ(kWeights - 8 * 12 * 2, at["model.layers.0.mlp.up_proj.weight"]);
  EXPECT_EQ(kWeights, at["lm_head.weight"]);
  EXPECT_TRUE(parse(header_v1(kSizes, true) + floats(kWeights))->tied);
}

TEST(Llama2c, SaysByHowMuchAFileIsTooLongOrTooShort) {
  const std::string good = header_v0(kSizes) + floats(kWeights + 12);
  ASSERT_TRUE(parse(good));
  const std::string expected =
      "f: expected " + std::to_string(good.size()) + " bytes, as the header says, got ";
  EXPECT_EQ(expected + std::to_string(good.size() + 3) +
                ": 3 too many. Cut the file to that length if other data follow",
            refusal(good + "abc"));
  EXPECT_EQ(expected + std::to_string(good.size() - 1) + ": 1 are missing. Is the file truncated?",
            refusal(good.substr(0, good.size() - 1)));
  EXPECT_EQ("f: expected a header of 28 bytes, got a file of 27", refusal(good.substr(0, 27)));
  EXPECT_EQ("f: expected a header of 256 bytes, got a file of 28",
            refusal(header_v1(kSizes, true).substr(0, 28)));
}

TEST(Llama2c, RefusesSizesThatFitNoModel) {
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    Sizes sizes = kSizes;
    sizes[i] = i == 5 ? 0 : -1;
    EXPECT_NE(std::string::npos, refusal(header_v0(sizes)).find(": expected at least 1, got "))
        << i;
  }
  EXPECT_EQ(
      "f: header: vocab_size: expected at least 1, got -2147483648. Is this a llama2.c checkpoint?",
      refusal(header_v0({8, 12, 2, 2, 1, INT32_MIN, 3})));
  const std::string groups = "expected an even head width and heads in groups";
  EXPECT_NE(std::string::npos, refusal(header_v0({8, 12, 2, 3, 1, 5, 3})).find(groups));
  EXPECT_NE(std::string::npos, refusal(header_v0({6, 12, 2, 2, 1, 5, 3})).find(groups));
  EXPECT_NE(std::string::npos, refusal(header_v0({8, 12, 2, 4, 3, 5, 3})).find(groups));
}

TEST(Llama2c, RefusesSizesWhoseProductsOverflow) {
  const std::int32_t huge = 0x7FFFFFF0;
  EXPECT_EQ(
      "f: expected 18446744073709551615 bytes, as the header says, got 28: "
      "18446744073709551587 are missing. Is the file truncated?",
      refusal(header_v0({huge, huge, huge, 1, 1, huge, huge})));
}

TEST(Llama2c, RefusesOtherVersions) {
  EXPECT_EQ(
      "f: llama2.c format version 2 (already quantized to int8) is not supported. Export it again "
      "as version 0 or 1 (float32)",
      refusal(header_v1(kSizes, true, 2)));
  EXPECT_EQ(
      "f: llama2.c format version 7 is not supported. Export it again as version 0 or 1 (float32)",
      refusal(header_v1(kSizes, true, 7)));
}

TEST(Llama2cVocabulary, ReadsPiecesAndScores) {
  const std::string file = std::string("\2\0\0\0", 4) + std::string("\0\0\x80\x3f\1\0\0\0a", 9) +
                           std::string("\0\0\0\xc0\2\0\0\0bc", 10);
  const auto vocabulary = parse_llama2c_vocabulary(std::as_bytes(std::span(file)), 2, "f");
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ((std::vector<std::string>{"a", "bc"}), vocabulary->tokens);
  EXPECT_EQ((std::vector<float>{1.0f, -2.0f}), vocabulary->scores);
  const auto refused = [](const std::string& bytes, std::size_t size) {
    return parse_llama2c_vocabulary(std::as_bytes(std::span(bytes)), size, "f").error().message;
  };
  EXPECT_EQ(
      "f: expected the file to end after 1 pieces, got 10 more bytes. Does it belong to "
      "this checkpoint?",
      refused(file, 1));
  EXPECT_EQ("f: piece 2 of 3: expected a score and a length at byte 23, got the end of the file",
            refused(file, 3));
  EXPECT_EQ("f: piece 0 of 1: expected a score and a length at byte 4, got the end of the file",
            refused("", 1));
  EXPECT_EQ("f: piece 0 of 1: expected a length of at most the 1 bytes that follow, got -1",
            refused(std::string("\2\0\0\0\0\0\0\0\xff\xff\xff\xff"
                                "a",
                                13),
                    1));
}

TEST(RopeOrder, TurnsInterleavedPairsIntoHalves) {
  // Two heads of width 4: rows 0 1 2 3 hold pairs (0, 1) and (2, 3).
  const auto rows = Tensor::from_f32(
      {8, 2},
      std::vector<float>{0, 0.5f, 1, 1.5f, 2, 2.5f, 3, 3.5f, 4, 4.5f, 5, 5.5f, 6, 6.5f, 7, 7.5f});
  const auto halves = half_split_rows(*rows, 2);
  ASSERT_TRUE(halves);
  EXPECT_EQ(
      (std::vector<float>{0, 0.5f, 2, 2.5f, 1, 1.5f, 3, 3.5f, 4, 4.5f, 6, 6.5f, 5, 5.5f, 7, 7.5f}),
      halves->to_f32());
  const auto bias = half_split_rows(*Tensor::from_f32({4}, std::vector<float>{0, 1, 2, 3}), 1);
  ASSERT_TRUE(bias);
  EXPECT_EQ((std::vector<float>{0, 2, 1, 3}), bias->to_f32());
  EXPECT_EQ("expected rows for 3 heads of an even width, got shape [8, 2]",
            half_split_rows(*rows, 3).error().message);
  EXPECT_EQ("expected rows for 8 heads of an even width, got shape [8, 2]",
            half_split_rows(*rows, 8).error().message);
}

TEST_F(Llama2cCheckpointTest, HandsOutHalfSplitRowsAndTheConfiguration) {
  const auto path = root_ / "m.bin";
  ASSERT_TRUE(write_text_file(path, header_v0(kSizes) + floats(kWeights + 12)));
  const auto model = open_checkpoint(path);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ("llama2.c", (*model)->container());
  EXPECT_EQ(path, (*model)->path());
  const auto query = (*model)->read("model.layers.0.self_attn.q_proj.weight");
  ASSERT_TRUE(query);
  // Row 1 of a head of width 4 is row 2 of the file; row 2 is row 1.
  EXPECT_EQ(56.0f, query->to_f32()[0]);
  EXPECT_EQ(56.0f + 2 * 8, query->to_f32()[8]);
  EXPECT_EQ(56.0f + 8, query->to_f32()[2 * 8]);
  const auto value = (*model)->read("model.layers.0.self_attn.v_proj.weight");
  ASSERT_TRUE(value);
  EXPECT_EQ(248.0f + 8, value->to_f32()[8]);
  (*model)->release("model.layers.0.self_attn.v_proj.weight");
  const std::string missing = (*model)->read("lm_head.weight").error().message;
  EXPECT_EQ(path.string() + ": there is no tensor \"lm_head.weight\"", missing);
  EXPECT_EQ(root_.string() +
                ": expected tokenizer.bin or one file tok*.bin, got none. Put the model's "
                "tokenizer beside m.bin under the name tokenizer.bin",
            (*model)->tokenizer().error().message);
}

TEST(Llama2cGolden, OpensThePublishedModelWithItsTokenizer) {
  FPTQ_REQUIRE_TEST_DATA("models/stories260k-llama2c");
  const auto model =
      open_checkpoint(testing::test_data_dir() / "models/stories260k-llama2c/stories260K.bin");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((Shape{512, 64}), (*model)->find("model.embed_tokens.weight")->shape);
  EXPECT_EQ(2U + 5 * 9, (*model)->tensors().size());
  const auto tokenizer = (*model)->tokenizer();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_NE(std::string::npos, tokenizer->tokenizer_json.find("\"BPE\""));
}

}  // namespace
}  // namespace fptq::io
