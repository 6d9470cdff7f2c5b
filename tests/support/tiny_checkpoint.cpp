#include "support/tiny_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "base/rng.h"
#include "io/safetensors_writer.h"
#include "support/tiny_tokenizer.h"

namespace fptq::testing {
namespace {

// Aborts: an error here is a mistake of the test.
template <typename T>
T value_of(Result<T> result) {
  if (!result) std::abort();
  return *std::move(result);
}

Tensor float_tensor(DType dtype, Shape shape, const std::vector<float>& values) {
  if (dtype == DType::kF32) return f32_tensor(std::move(shape), values);
  Tensor::Fresh fresh = value_of(Tensor::create(dtype, std::move(shape)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits =
        dtype == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    std::memcpy(fresh.data + 2 * i, &bits, sizeof(bits));
  }
  return fresh.tensor;
}

class Builder {
 public:
  explicit Builder(const TinyOptions& options) : options_(options), rng_(options.seed) {}

  TinyModel build() {
    const TinyOptions& o = options_;
    add_matrix("model.embed_tokens.weight", o.vocabulary, o.hidden, 0.5);
    for (std::size_t i = 0; i < o.layers; ++i) add_block("model.layers." + std::to_string(i));
    add_norm("model.norm.weight");
    if (!o.tied) add_linear("lm_head", o.vocabulary, o.hidden, false);
    model_.config = config();
    return std::move(model_);
  }

 private:
  void add(const std::string& name, Shape shape, const std::vector<float>& values) {
    model_.tensors.emplace_back(name, float_tensor(options_.dtype, std::move(shape), values));
  }
  void add_matrix(const std::string& name, std::size_t rows, std::size_t cols, double deviation) {
    std::vector<float> values(rows * cols);
    for (float& value : values) value = static_cast<float>(rng_.normal() * deviation);
    add(name, {rows, cols}, values);
  }
  // Weights of a size that keeps activations near 1.
  void add_linear(const std::string& module, std::size_t rows, std::size_t cols, bool bias) {
    add_matrix(module + ".weight", rows, cols, 1.5 / std::sqrt(static_cast<double>(cols)));
    if (!bias) return;
    std::vector<float> values(rows);
    for (float& value : values) value = static_cast<float>(rng_.normal() * 0.3);
    add(module + ".bias", {rows}, values);
  }
  void add_norm(const std::string& name) {
    std::vector<float> values(options_.hidden);
    for (float& value : values) value = static_cast<float>(1.0 + rng_.normal() * 0.2);
    add(name, {options_.hidden}, values);
  }
  void add_block(const std::string& block) {
    const TinyOptions& o = options_;
    const std::size_t q_width = o.heads * o.head_dim;
    const std::size_t kv_width = o.kv_heads * o.head_dim;
    add_norm(block + ".input_layernorm.weight");
    add_linear(block + ".self_attn.q_proj", q_width, o.hidden, o.attention_bias);
    add_linear(block + ".self_attn.k_proj", kv_width, o.hidden, o.attention_bias);
    add_linear(block + ".self_attn.v_proj", kv_width, o.hidden, o.attention_bias);
    add_linear(block + ".self_attn.o_proj", o.hidden, q_width, o.attention_bias);
    add_norm(block + ".post_attention_layernorm.weight");
    add_linear(block + ".mlp.gate_proj", o.ffn, o.hidden, o.mlp_bias);
    add_linear(block + ".mlp.up_proj", o.ffn, o.hidden, o.mlp_bias);
    add_linear(block + ".mlp.down_proj", o.hidden, o.ffn, o.mlp_bias);
  }

  [[nodiscard]] Json config() const {
    const TinyOptions& o = options_;
    Json config;
    config["architectures"] = Json::array({"LlamaForCausalLM"});
    config["attention_bias"] = o.attention_bias;
    config["bos_token_id"] = kTinyBos;
    config["dtype"] = o.dtype == DType::kF32   ? "float32"
                      : o.dtype == DType::kF16 ? "float16"
                                               : "bfloat16";
    config["eos_token_id"] = kTinyEos;
    config["head_dim"] = o.head_dim;
    config["hidden_act"] = "silu";
    config["hidden_size"] = o.hidden;
    config["intermediate_size"] = o.ffn;
    config["max_position_embeddings"] = o.max_positions;
    config["mlp_bias"] = o.mlp_bias;
    config["model_type"] = "llama";
    config["num_attention_heads"] = o.heads;
    config["num_hidden_layers"] = o.layers;
    config["num_key_value_heads"] = o.kv_heads;
    config["rms_norm_eps"] = 1e-5;
    config["rope_parameters"] = Json::parse(o.rope);
    config["tie_word_embeddings"] = o.tied;
    config["vocab_size"] = o.vocabulary;
    for (const auto& [key, value] : o.config) config[key] = Json::parse(value);
    return config;
  }

  const TinyOptions& options_;
  Rng rng_;
  TinyModel model_;
};

class MemoryCheckpoint : public io::Checkpoint {
 public:
  explicit MemoryCheckpoint(TinyModel model) : model_(std::move(model)) {
    std::sort(model_.tensors.begin(), model_.tensors.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [name, tensor] : model_.tensors) {
      infos_.push_back({name, tensor.dtype(), tensor.shape(), tensor.bytes().size(),
                        std::string(dtype_name(tensor.dtype())), "tiny.safetensors"});
      bytes_ += tensor.bytes().size();
    }
  }

  const std::filesystem::path& path() const override { return path_; }
  std::string_view container() const override { return "safetensors"; }
  const Json& config() const override { return model_.config; }
  std::span<const io::TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override {
    for (const auto& [known, tensor] : model_.tensors) {
      if (known == name) return tensor;
    }
    return Error{Error::Kind::kNotFound, "tiny: no tensor " + std::string(name)};
  }
  void release(std::string_view /*name*/) const override {}
  Result<io::TokenizerFiles> tokenizer() const override {
    return Error{Error::Kind::kNotFound, "tiny: no tokenizer in memory"};
  }
  std::uint64_t weight_file_bytes() const override { return bytes_; }
  std::span<const std::string> warnings() const override { return {}; }

 private:
  std::filesystem::path path_ = "tiny";
  TinyModel model_;
  std::vector<io::TensorInfo> infos_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

Tensor* TinyModel::find(const std::string& name) {
  for (auto& [known, tensor] : tensors) {
    if (known == name) return &tensor;
  }
  return nullptr;
}

void TinyModel::erase(const std::string& name) {
  std::erase_if(tensors, [&](const auto& entry) { return entry.first == name; });
}

TinyModel make_tiny_model(const TinyOptions& options) {
  return Builder(options).build();
}

Tensor f32_tensor(Shape shape, const std::vector<float>& values) {
  return value_of(Tensor::from_f32(std::move(shape), values));
}

Tensor with_element(const Tensor& tensor, std::size_t index, float value) {
  std::vector<float> values = tensor.to_f32();
  values.at(index) = value;
  return f32_tensor(tensor.shape(), values);
}

std::shared_ptr<const io::Checkpoint> memory_checkpoint(TinyModel model) {
  return std::make_shared<MemoryCheckpoint>(std::move(model));
}

Status write_tiny_checkpoint(const std::filesystem::path& directory, const TinyOptions& options) {
  return write_tiny_checkpoint(directory, make_tiny_model(options), options);
}

Status write_tiny_checkpoint(const std::filesystem::path& directory, const TinyModel& model,
                             const TinyOptions& options) {
  std::filesystem::create_directories(directory);
  std::vector<io::TensorSpec> specs;
  std::uint64_t total_bytes = 0;
  for (const auto& [name, tensor] : model.tensors) {
    specs.push_back({name, tensor.dtype(), tensor.shape()});
    total_bytes += tensor.bytes().size();
  }
  io::SafetensorsWriterOptions writer_options;
  if (options.shards > 1) writer_options.max_shard_bytes = total_bytes / options.shards + 1;
  FPTQ_TRY(io::SafetensorsWriter writer,
           io::SafetensorsWriter::create(directory, std::move(specs), std::move(writer_options)));
  for (const auto& [name, tensor] : model.tensors) FPTQ_TRY_VOID(writer.write(name, tensor));
  FPTQ_TRY_VOID(writer.finish());
  FPTQ_TRY_VOID(write_text_file(directory / "config.json", model.config.dump(2) + "\n"));
  FPTQ_TRY_VOID(
      write_text_file(directory / "tokenizer.json", tiny_tokenizer_json(options.vocabulary)));
  return write_text_file(
      directory / "tokenizer_config.json",
      R"({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true})"
      "\n");
}

}  // namespace fptq::testing
