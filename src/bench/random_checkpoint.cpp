#include "bench/random_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "model/llama_config.h"

namespace fptq::bench {
namespace {

struct NamedShape {
  std::string_view name;
  std::size_t hidden;
  std::size_t ffn;
  std::size_t layers;
  double rope_factor;
  bool tied;
};

// Published sizes; heads, vocabulary and context are the same in both.
constexpr std::array<NamedShape, 2> kShapes = {
    {{"llama-3.2-1b", 2048, 8192, 16, 32.0, true}, {"llama-3.1-8b", 4096, 14336, 32, 8.0, false}}};

Json config_of(const NamedShape& shape) {
  return {{"model_type", "llama"},
          {"hidden_size", shape.hidden},
          {"intermediate_size", shape.ffn},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", 32},
          {"num_key_value_heads", 8},
          {"head_dim", shape.hidden / 32},
          {"vocab_size", 128256},
          {"max_position_embeddings", 131072},
          {"rms_norm_eps", 1e-5},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", shape.tied},
          {"rope_theta", 500000.0},
          {"rope_scaling",
           {{"rope_type", "llama3"},
            {"factor", shape.rope_factor},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192}}}};
}

// What the bytes of a made-up tensor are. Values of weights are about 2^-6, so that a linear of a
// few thousand inputs gives outputs near 1.
enum class Content {
  kCodes,       // any bits
  kZeroPoints,  // codes in the middle of the range: zero point 0, nibbles of 8
  kScales4,     // bf16 near 2^-8, for codes of 4 bits
  kScales8,     // bf16 near 2^-12, for codes of 8 bits
  kFloats,      // bf16 near 2^-6, either sign
  kOnes,        // bf16 1
};

void fill(Content content, std::span<std::byte> bytes, Rng& rng) {
  // bf16: sign, 8 bits of exponent with bias 127, 7 of mantissa; four of them in a word.
  const auto near = [](unsigned exponent) { return 0x0001000100010001ULL * (exponent << 7); };
  constexpr std::uint64_t kMantissas = 0x007F007F007F007FULL;
  constexpr std::uint64_t kSigns = 0x8000800080008000ULL;
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    switch (content) {
      case Content::kCodes:
        word = rng.bits();
        break;
      case Content::kZeroPoints:
        word = 0x8888888888888888ULL;
        break;
      case Content::kScales4:
        word = (rng.bits() & kMantissas) | near(127 - 8);
        break;
      case Content::kScales8:
        word = (rng.bits() & kMantissas) | near(127 - 12);
        break;
      case Content::kFloats:
        word = (rng.bits() & (kMantissas | kSigns)) | near(127 - 6);
        break;
      case Content::kOnes:
        word = near(127);
        break;
    }
    std::memcpy(bytes.data() + i, &word, std::min(sizeof(word), bytes.size() - i));
  }
}

Json args_json(const QuantArgs& args) {
  return {{"num_bits", args.num_bits},
          {"type", "int"},
          {"symmetric", args.symmetric},
          {"strategy", strategy_name(args.strategy)},
          {"group_size", args.group_size > 0 ? Json(args.group_size) : Json(nullptr)},
          {"dynamic", args.dynamic}};
}

Json group_json(const char* target, const QuantArgs& weights,
                const std::optional<QuantArgs>& activations, const char* format) {
  return {{"targets", Json::array({target})},
          {"weights", args_json(weights)},
          {"input_activations", activations ? args_json(*activations) : Json(nullptr)},
          {"format", format}};
}

class RandomCheckpoint final : public io::Checkpoint {
 public:
  // scheme: of the decoder linears; no weights: everything is bf16.
  RandomCheckpoint(Json config, const model::LlamaConfig& sizes, const Scheme& scheme,
                   std::uint64_t seed)
      : config_(std::move(config)), scheme_(scheme), seed_(seed) {
    add_tensors(sizes);
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return a.info.name < b.info.name; });
    for (const Entry& entry : entries_) {
      infos_.push_back(entry.info);
      bytes_ += entry.info.stored_bytes;
    }
  }

  const std::filesystem::path& path() const override { return path_; }
  std::string_view container() const override { return "safetensors"; }
  const Json& config() const override { return config_; }
  std::span<const io::TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override;
  void release(std::string_view /*name*/) const override {}
  Result<io::TokenizerFiles> tokenizer() const override {
    return Error{Error::Kind::kNotFound, "random weights: there is no tokenizer"};
  }
  std::uint64_t weight_file_bytes() const override { return bytes_; }
  std::span<const std::string> warnings() const override { return {}; }

 private:
  struct Entry {
    io::TensorInfo info;
    Content content;
  };

  void add(const std::string& name, DType dtype, Shape shape, Content content) {
    const std::uint64_t bytes = *element_count(shape) * dtype_bytes(dtype);
    entries_.push_back(
        {{name, dtype, std::move(shape), bytes, std::string(dtype_name(dtype)), "random"},
         content});
  }
  void add_int8(const std::string& module, std::size_t rows, std::size_t cols) {
    add(module + ".weight", DType::kI8, {rows, cols}, Content::kCodes);
    add(module + ".weight_scale", DType::kBF16, {rows, 1}, Content::kScales8);
  }
  void add_packed(const std::string& module, std::size_t rows, std::size_t cols) {
    const QuantArgs& args = *scheme_.weights;
    const auto per_word = static_cast<std::size_t>(32 / args.num_bits);
    const std::size_t width = args.group_size > 0 ? args.group_size : cols;
    const std::size_t groups = (cols + width - 1) / width;
    add(module + ".weight_packed", DType::kI32, {rows, (cols + per_word - 1) / per_word},
        Content::kCodes);
    add(module + ".weight_scale", DType::kBF16, {rows, groups},
        args.num_bits == 4 ? Content::kScales4 : Content::kScales8);
    if (args.symmetric) return;
    add(module + ".weight_zero_point", DType::kI32, {(rows + per_word - 1) / per_word, groups},
        Content::kZeroPoints);
  }
  void add_linear(const std::string& module, std::size_t rows, std::size_t cols, bool bias) {
    if (scheme_.weights) {
      add_packed(module, rows, cols);
    } else {
      add(module + ".weight", DType::kBF16, {rows, cols}, Content::kFloats);
    }
    if (bias) add(module + ".bias", DType::kBF16, {rows}, Content::kFloats);
  }
  void add_table(const std::string& module, std::size_t rows, std::size_t cols) {
    if (scheme_.weights) {
      add_int8(module, rows, cols);
    } else {
      add(module + ".weight", DType::kBF16, {rows, cols}, Content::kFloats);
    }
  }
  void add_tensors(const model::LlamaConfig& sizes);

  std::filesystem::path path_ = "random weights";
  Json config_;
  Scheme scheme_;
  std::uint64_t seed_;
  std::vector<Entry> entries_;
  std::vector<io::TensorInfo> infos_;
  std::uint64_t bytes_ = 0;
};

void RandomCheckpoint::add_tensors(const model::LlamaConfig& sizes) {
  const std::size_t width = sizes.hidden_size;
  const std::size_t ffn = sizes.intermediate_size;
  add_table("model.embed_tokens", sizes.vocab_size, width);
  if (!sizes.tied_embeddings) add_table("lm_head", sizes.vocab_size, width);
  add("model.norm.weight", DType::kBF16, {width}, Content::kOnes);
  for (std::size_t i = 0; i < sizes.num_layers; ++i) {
    const std::string block = "model.layers." + std::to_string(i);
    add(block + ".input_layernorm.weight", DType::kBF16, {width}, Content::kOnes);
    add(block + ".post_attention_layernorm.weight", DType::kBF16, {width}, Content::kOnes);
    add_linear(block + ".self_attn.q_proj", sizes.q_width(), width, sizes.attention_bias);
    add_linear(block + ".self_attn.k_proj", sizes.kv_width(), width, sizes.attention_bias);
    add_linear(block + ".self_attn.v_proj", sizes.kv_width(), width, sizes.attention_bias);
    add_linear(block + ".self_attn.o_proj", width, sizes.q_width(), sizes.attention_bias);
    add_linear(block + ".mlp.gate_proj", ffn, width, sizes.mlp_bias);
    add_linear(block + ".mlp.up_proj", ffn, width, sizes.mlp_bias);
    add_linear(block + ".mlp.down_proj", width, ffn, sizes.mlp_bias);
  }
}

Result<Tensor> RandomCheckpoint::read(std::string_view name) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const Entry& entry, std::string_view n) { return entry.info.name < n; });
  if (found == entries_.end() || found->info.name != name) {
    return Error{Error::Kind::kNotFound, "random weights: no tensor \"" + std::string(name) + "\""};
  }
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(found->info.dtype, found->info.shape));
  // A seed of its own makes a tensor the same in whatever order they are read.
  Rng rng(seed_ + static_cast<std::uint64_t>(found - entries_.begin()));
  fill(found->content, {fresh.data, static_cast<std::size_t>(found->info.stored_bytes)}, rng);
  return std::move(fresh.tensor);
}

}  // namespace

Result<Json> shape_config(std::string_view shape) {
  for (const NamedShape& known : kShapes) {
    if (known.name == shape) return config_of(known);
  }
  const std::filesystem::path path(shape);
  if (!std::filesystem::exists(path)) {
    return Error{Error::Kind::kNotFound,
                 "shape: expected llama-3.2-1b, llama-3.1-8b or the path of a config.json, got \"" +
                     std::string(shape) + "\""};
  }
  FPTQ_TRY(const std::string text, read_text_file(path, 1 << 20));
  return parse_json(text, path.string());
}

Result<std::shared_ptr<const io::Checkpoint>> random_checkpoint(const Json& config,
                                                                const Scheme& weights,
                                                                std::uint64_t seed) {
  if (weights.weights && weights.weights->type != CodeType::kInt) {
    return Error{Error::Kind::kUnsupported,
                 "random weights: expected integer weights or bf16, got " + scheme_name(weights)};
  }
  Scheme scheme = weights;
  Json complete = config;
  if (complete.is_object()) complete.erase("quantization_config");
  if (scheme.weights) {
    if (!scheme.activations) scheme.activations = a8_dynamic_per_token();
    const QuantArgs table = int_weights(8, Strategy::kChannel, 0, /*symmetric=*/true);
    complete["quantization_config"] = {
        {"quant_method", "compressed-tensors"},
        {"format", "mixed-precision"},
        {"config_groups",
         {{"group_0", group_json("Linear", *scheme.weights, scheme.activations, "pack-quantized")},
          {"group_1", group_json("model.embed_tokens", table, std::nullopt, "int-quantized")},
          {"group_2", group_json("lm_head", table, scheme.activations, "int-quantized")}}}};
  }
  FPTQ_TRY(const model::LlamaConfig sizes,
           model::parse_llama_config(complete, "random weights: config"));
  return std::shared_ptr<const io::Checkpoint>(
      std::make_shared<RandomCheckpoint>(std::move(complete), sizes, scheme, seed));
}

}  // namespace fptq::bench
