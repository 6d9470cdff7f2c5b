#include "quantize/convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "ops/hadamard.h"
#include "quantize/pipeline.h"
#include "quantize/test_tensors.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

class Convert : public testing::TemporaryDirectoryTest {
 protected:
  // Writes a tiny checkpoint, quantizes it with these flags, and opens the result.
  std::unique_ptr<io::Checkpoint> quantized(const testing::TinyOptions& sizes,
                                            const RecipeOverrides& flags) {
    source_ = testing::make_tiny_model(sizes);
    EXPECT_TRUE(testing::write_tiny_checkpoint(root_ / "source", source_, sizes));
    const auto source = io::open_checkpoint(root_ / "source");
    const auto recipe = apply_overrides(*builtin_recipe("rtn"), flags);
    QuantizeOptions options;
    options.output = root_ / "quantized";
    options.pool = &pool_;
    const auto report = quantize_checkpoint(*recipe, **source, options);
    EXPECT_TRUE(report) << report.error().message;
    return *io::open_checkpoint(root_ / "quantized");
  }

  Result<ConvertReport> convert(const io::Checkpoint& checkpoint, ConvertTarget target,
                                std::optional<DType> dtype = std::nullopt) {
    ConvertOptions options;
    options.output = root_ / "out";
    options.pool = &pool_;
    options.dtype = dtype;
    return convert_checkpoint(checkpoint, target, options);
  }

  ThreadPool pool_{2};
  testing::TinyModel source_;
};

TEST_F(Convert, DequantizesEveryModule) {
  RecipeOverrides flags;
  flags.overrides = {"layers.0.*o_proj=w8c", "layers.1.*o_proj=keep", "q_proj=w4c-asym"};
  const auto checkpoint = quantized({}, flags);
  const auto report = convert(*checkpoint, ConvertTarget::kDense);
  ASSERT_TRUE(report) << report.error().message;
  const auto dense = io::open_checkpoint(root_ / "out");
  ASSERT_TRUE(dense) << dense.error().message;
  EXPECT_FALSE((*dense)->config().contains("quantization_config"));
  EXPECT_EQ((*dense)->tensors().size(), source_.tensors.size());
  const std::string block = "model.layers.0.";
  for (const auto& [name, args] : std::vector<std::pair<std::string, QuantArgs>>{
           {block + "mlp.down_proj.weight", int_weights(4, Strategy::kGroup, 32, false)},
           {block + "self_attn.o_proj.weight", int_weights(8, Strategy::kChannel, 0, true)},
           {block + "self_attn.q_proj.weight", int_weights(4, Strategy::kChannel, 0, false)},
           {"model.embed_tokens.weight", int_weights(8, Strategy::kChannel, 0, true)}}) {
    const Tensor source = *source_.find(name);
    const std::vector<float> expected = dequantize(
        round_to_nearest(source.to_f32(), source.rows(), source.cols(), args, DType::kF16));
    const auto actual = (*dense)->read(name);
    ASSERT_TRUE(actual) << name;
    EXPECT_EQ(actual->dtype(), DType::kF32);
    EXPECT_EQ(actual->shape(), source.shape());
    EXPECT_EQ(actual->to_f32(), expected) << name;
  }
  const std::string kept = "model.layers.1.self_attn.o_proj.weight";
  EXPECT_EQ((*dense)->read(kept)->to_f32(), source_.find(kept)->to_f32());
}

TEST_F(Convert, TurnsWeightsBehindRotatedInputsBack) {
  quantized({}, {});
  Json config = *parse_json(*read_text_file(root_ / "quantized/config.json", 1 << 20), "config");
  config["quantization_config"]["transform_config"] = Json::parse(
      R"({"config_groups": {"R4": {"type": "hadamard", "head_dim": 32, "apply":
          [{"targets": "model.layers.1.mlp.down_proj", "location": "input"}]}}})");
  ASSERT_TRUE(write_text_file(root_ / "quantized/config.json", config.dump()));
  const auto checkpoint = io::open_checkpoint(root_ / "quantized");
  ASSERT_TRUE(checkpoint);
  ASSERT_TRUE(convert(**checkpoint, ConvertTarget::kDense));
  const auto dense = io::open_checkpoint(root_ / "out");
  ASSERT_TRUE(dense);
  EXPECT_FALSE((*dense)->config().contains("quantization_config"));
  for (const std::string layer : {"0", "1"}) {
    const std::string name = "model.layers." + layer + ".mlp.down_proj.weight";
    const Tensor source = *source_.find(name);
    std::vector<float> expected =
        dequantize(round_to_nearest(source.to_f32(), source.rows(), source.cols(),
                                    int_weights(4, Strategy::kGroup, 32, false), DType::kF16));
    if (layer == "1") {
      ops::BlockHadamard(source.cols(), 32, best_isa()).apply(expected.data(), source.rows());
    }
    EXPECT_EQ((*dense)->read(name)->to_f32(), expected) << name;
  }
}

TEST_F(Convert, KeepsATiedClassifierTiedAndAnUntiedOneApart) {
  for (const bool tied : {true, false}) {
    fs::remove_all(root_ / "source");
    fs::remove_all(root_ / "quantized");
    fs::remove_all(root_ / "out");
    testing::TinyOptions sizes;
    sizes.tied = tied;
    const auto checkpoint = quantized(sizes, {});
    ASSERT_TRUE(convert(*checkpoint, ConvertTarget::kDense));
    const auto dense = io::open_checkpoint(root_ / "out");
    ASSERT_TRUE(dense);
    EXPECT_EQ((*dense)->find("lm_head.weight") == nullptr, tied);
    EXPECT_EQ((*dense)->find("lm_head.weight_scale"), nullptr);
    EXPECT_EQ((*dense)->config()["tie_word_embeddings"], tied);
  }
}

TEST_F(Convert, CastsWhereThatIsAskedFor) {
  const auto checkpoint = quantized({}, {});
  const auto report = convert(*checkpoint, ConvertTarget::kDense, DType::kBF16);
  ASSERT_TRUE(report);
  EXPECT_GT(report->largest_error, 0);
  const auto dense = io::open_checkpoint(root_ / "out");
  ASSERT_TRUE(dense);
  for (const io::TensorInfo& info : (*dense)->tensors()) EXPECT_EQ(info.dtype, DType::kBF16);
  const Json& config = (*dense)->config();
  EXPECT_EQ(config.contains("dtype") ? config["dtype"] : config["torch_dtype"], "bfloat16");
}

TEST_F(Convert, CopiesEveryTensorToAHuggingFaceDirectory) {
  const auto checkpoint = quantized({}, {});
  const auto report = convert(*checkpoint, ConvertTarget::kHf);
  ASSERT_TRUE(report) << report.error().message;
  const auto copy = io::open_checkpoint(root_ / "out");
  ASSERT_TRUE(copy);
  EXPECT_EQ((*copy)->config().dump(), checkpoint->config().dump());
  ASSERT_EQ((*copy)->tensors().size(), checkpoint->tensors().size());
  for (const io::TensorInfo& info : checkpoint->tensors()) {
    const Tensor expected = *checkpoint->read(info.name);
    const Tensor actual = *(*copy)->read(info.name);
    EXPECT_TRUE(std::equal(expected.bytes().begin(), expected.bytes().end(), actual.bytes().begin(),
                           actual.bytes().end()))
        << info.name;
  }
}

TEST_F(Convert, LeavesNothingAfterAnInterruption) {
  const auto checkpoint = testing::memory_checkpoint(testing::make_tiny_model());
  ConvertOptions options;
  options.output = root_ / "out";
  options.pool = &pool_;
  options.progress = [](const ProgressUpdate&) { return false; };
  const auto report = convert_checkpoint(*checkpoint, ConvertTarget::kHf, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, Error::Kind::kInterrupted);
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST(ParseConvertTarget, SaysWhatIsNotWrittenYet) {
  EXPECT_EQ(*parse_convert_target("hf"), ConvertTarget::kHf);
  EXPECT_EQ(*parse_convert_target("dense"), ConvertTarget::kDense);
  const auto gguf = parse_convert_target("gguf");
  ASSERT_FALSE(gguf);
  EXPECT_EQ(gguf.error().kind, Error::Kind::kUnsupported);
  EXPECT_EQ(gguf.error().message, "--to \"gguf\": this version writes hf and dense");
  const auto other = parse_convert_target("onnx");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, Error::Kind::kInvalidArgument);
}

}  // namespace
}  // namespace fptq::quantize
