#include "eval/disk_bytes.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"

namespace fptq::eval {
namespace {

// A checkpoint that has names and sizes only.
class NamesOnly final : public io::Checkpoint {
 public:
  NamesOnly(std::vector<std::pair<std::string, std::uint64_t>> tensors, std::uint64_t file_bytes)
      : file_bytes_(file_bytes) {
    for (auto& [name, bytes] : tensors) {
      tensors_.push_back({name, DType::kI8, Shape({1}), bytes, "I8", "file"});
    }
  }

  [[nodiscard]] const std::filesystem::path& path() const override { return path_; }
  [[nodiscard]] std::string_view container() const override { return "none"; }
  [[nodiscard]] const Json& config() const override { return config_; }
  [[nodiscard]] std::span<const io::TensorInfo> tensors() const override { return tensors_; }
  [[nodiscard]] Result<Tensor> read(std::string_view /*name*/) const override {
    return Error{Error::Kind::kNotFound, "no values"};
  }
  void release(std::string_view /*name*/) const override {}
  [[nodiscard]] Result<io::TokenizerFiles> tokenizer() const override {
    return Error{Error::Kind::kNotFound, "no tokenizer"};
  }
  [[nodiscard]] std::uint64_t weight_file_bytes() const override { return file_bytes_; }
  [[nodiscard]] std::span<const std::string> warnings() const override { return {}; }

 private:
  std::filesystem::path path_;
  Json config_;
  std::vector<io::TensorInfo> tensors_;
  std::uint64_t file_bytes_;
};

TEST(DiskBytes, CountsEachTensorOnceAndTheRestOfTheFile) {
  const NamesOnly checkpoint({{"lm_head.weight", 100},
                              {"model.embed_tokens.weight", 200},
                              {"model.embed_tokens.weight_scale", 20},
                              {"model.layers.0.input_layernorm.weight", 3},
                              {"model.layers.0.mlp.down_proj.weight_packed", 1000},
                              {"model.layers.0.mlp.down_proj.weight_scale", 50},
                              {"model.layers.0.self_attn.q_proj.bias", 5},
                              {"model.layers.0.self_attn.rotary_emb.inv_freq", 7},
                              {"model.norm.weight", 4}},
                             2000);
  const DiskBytes bytes = disk_bytes(checkpoint);
  EXPECT_EQ(bytes.classifier, 100u);
  EXPECT_EQ(bytes.embedding, 220u);
  EXPECT_EQ(bytes.norms, 7u);
  EXPECT_EQ(bytes.linears, 1055u);
  EXPECT_EQ(bytes.other, 2000u - 100u - 220u - 7u - 1055u);
}

TEST(DiskBytes, HasNothingLeftOverWhereTensorsShareBytes) {
  const NamesOnly checkpoint({{"lm_head.weight", 100}, {"model.embed_tokens.weight", 100}}, 150);
  EXPECT_EQ(disk_bytes(checkpoint).other, 0u);
}

}  // namespace
}  // namespace fptq::eval
