// Small Llama checkpoints with seeded random weights, so that tests need no files.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "io/checkpoint.h"
#include "tensor/tensor.h"

namespace fptq::testing {

// What a tiny model looks like. The defaults run in a millisecond.
struct TinyOptions {
  std::uint64_t seed = 1;
  std::size_t layers = 2;
  std::size_t heads = 4;
  std::size_t kv_heads = 2;
  std::size_t head_dim = 16;
  std::size_t hidden = 64;
  std::size_t ffn = 96;
  std::size_t vocabulary = 320;  // at least 300: the tokenizer's smallest
  std::size_t max_positions = 128;
  bool tied = true;
  bool attention_bias = false;
  bool mlp_bias = false;
  DType dtype = DType::kF32;  // F32, F16 or BF16
  std::size_t shards = 1;
  std::string rope = R"({"rope_type": "default", "rope_theta": 10000.0})";  // rope_parameters
  std::map<std::string, std::string> config = {};  // keys of config.json to set: name -> JSON
};

// A model in memory: config.json and tensors in Hugging Face's names.
struct TinyModel {
  Json config;
  std::vector<std::pair<std::string, Tensor>> tensors;

  // The tensor of that name, to be changed or erased by tests of bad input; null if there is none.
  [[nodiscard]] Tensor* find(const std::string& name);
  void erase(const std::string& name);
};
[[nodiscard]] TinyModel make_tiny_model(const TinyOptions& options = {});

// A float32 tensor, for tests that change a model.
[[nodiscard]] Tensor f32_tensor(Shape shape, const std::vector<float>& values);

// A float32 copy of the tensor with one element changed.
[[nodiscard]] Tensor with_element(const Tensor& tensor, std::size_t index, float value);

// A checkpoint that is never written to disk.
[[nodiscard]] std::shared_ptr<const io::Checkpoint> memory_checkpoint(TinyModel model);

// Writes the model as a Hugging Face directory, which is created: config.json, the weights in
// `shards` files, tokenizer.json (tiny_tokenizer.h), tokenizer_config.json.
[[nodiscard]] Status write_tiny_checkpoint(const std::filesystem::path& directory,
                                           const TinyOptions& options = {});
[[nodiscard]] Status write_tiny_checkpoint(const std::filesystem::path& directory,
                                           const TinyModel& model, const TinyOptions& options);

}  // namespace fptq::testing
