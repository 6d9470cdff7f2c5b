#include "bench/random_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "model/llama_config.h"
#include "numeric/code_table.h"
#include "quantize/down_rotated_checkpoint.h"
#include "quantize/llama_modules.h"
#include "quantize/plan.h"

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
  kZeroPoints,  // 0
  kScales4,     // bf16 near 2^-8, for codes of 4 bits
  kScales8,     // bf16 near 2^-12, for codes of 8 bits
  kFloats,      // bf16 near 2^-6, either sign
  kOnes,        // bf16 1
  kShape,       // the two sizes of a packed matrix
  kBytes,       // those of the entry
};

// One tensor, and what it is filled with.
struct Entry {
  io::TensorInfo info;
  Content content;
  std::uint64_t stream;                 // tensors of one stream and content are the same
  std::array<std::int64_t, 2> shape{};  // kShape: what it says
  std::vector<std::byte> bytes{};       // kBytes
};

Entry entry_of(const io::TensorSpec& spec, Content content, std::uint64_t stream) {
  return {{spec.name, spec.dtype, spec.shape, quantize::spec_bytes(spec),
           std::string(dtype_name(spec.dtype)), "random"},
          content,
          stream,
          {},
          {}};
}

void fill(const Entry& entry, std::span<std::byte> bytes, Rng& rng) {
  // bf16: sign, 8 bits of exponent with bias 127, 7 of mantissa; four of them in a word.
  const auto near = [](unsigned exponent) { return 0x0001000100010001ULL * (exponent << 7); };
  constexpr std::uint64_t kMantissas = 0x007F007F007F007FULL;
  constexpr std::uint64_t kSigns = 0x8000800080008000ULL;
  if (entry.content == Content::kBytes) {
    std::copy(entry.bytes.begin(), entry.bytes.end(), bytes.begin());
    return;
  }
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    switch (entry.content) {
      case Content::kCodes:
        word = rng.bits();
        break;
      case Content::kZeroPoints:
      case Content::kBytes:
        break;
      case Content::kShape:
        word = static_cast<std::uint64_t>(entry.shape[i / sizeof(word)]);
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

class RandomCheckpoint final : public io::Checkpoint {
 public:
  RandomCheckpoint(Json config, std::vector<Entry> entries, std::uint64_t seed)
      : config_(std::move(config)), seed_(seed), entries_(std::move(entries)) {
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
  std::filesystem::path path_ = "random weights";
  Json config_;
  std::uint64_t seed_;
  std::vector<Entry> entries_;
  std::vector<io::TensorInfo> infos_;
  std::uint64_t bytes_ = 0;
};

Result<Tensor> RandomCheckpoint::read(std::string_view name) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const Entry& entry, std::string_view n) { return entry.info.name < n; });
  if (found == entries_.end() || found->info.name != name) {
    return Error{Error::Kind::kNotFound, "random weights: no tensor \"" + std::string(name) + "\""};
  }
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(found->info.dtype, found->info.shape));
  // A seed of its own makes a tensor the same in whatever order they are read.
  Rng rng(seed_ + found->stream);
  fill(*found, {fresh.data, static_cast<std::size_t>(found->info.stored_bytes)}, rng);
  return std::move(fresh.tensor);
}

// The tensors of a model in bf16.
std::vector<Entry> float_entries(const model::LlamaConfig& sizes) {
  std::vector<Entry> entries;
  const auto add = [&](const std::string& name, const Shape& shape, Content content) {
    entries.push_back(entry_of({name, DType::kBF16, shape}, content, entries.size()));
  };
  for (const quantize::LlamaModule& module : quantize::llama_modules(sizes)) {
    const bool is_classifier = module.role == quantize::LlamaModule::Role::kClassifier;
    if (is_classifier && sizes.tied_embeddings) continue;
    add(module.weight(), module.shape, Content::kFloats);
  }
  for (const quantize::LlamaVector& vector : quantize::llama_vectors(sizes)) {
    const bool is_norm = vector.name.ends_with("norm.weight");
    add(vector.name, vector.shape, is_norm ? Content::kOnes : Content::kFloats);
  }
  return entries;
}

// The tensors of a module of table codes. Constants are near 2^-6.
std::vector<Entry> table_entries(const quantize::TensorPlan& plan, std::uint64_t stream) {
  constexpr float kConstant = 0x1.0p-6f;
  const quantize::StoredTable& stored = *plan.table;
  std::vector<Entry> entries;
  const auto add = [&](const io::TensorSpec& spec, std::span<const std::byte> bytes) {
    entries.push_back(entry_of(spec, Content::kBytes, stream));
    entries.back().bytes.assign(bytes.begin(), bytes.end());
  };
  const auto add_constants = [&](const io::TensorSpec& spec) {
    const std::vector<float> constants(spec.shape[0], kConstant);
    add(spec, std::as_bytes(std::span(constants)));
  };
  entries.push_back(entry_of(stored.codes, Content::kCodes, stream));
  if (stored.nested_absmax) {
    entries.push_back(entry_of(stored.absmax, Content::kCodes, stream));
    add_constants(*stored.nested_absmax);
    add(*stored.nested_table, std::as_bytes(dynamic_map()));
  } else {
    add_constants(stored.absmax);
  }
  add(stored.table, std::as_bytes(code_table(plan.scheme.weights->type)));
  const std::string state = quantize::table_state_text(
      *plan.scheme.weights, plan.shape[0], plan.shape[1], stored.source_dtype, kConstant);
  add(stored.state, std::as_bytes(std::span(state)));
  return entries;
}

// The tensors that quantizing `source` by the plan would write.
std::vector<Entry> quantized_entries(const quantize::Plan& plan, const std::vector<Entry>& source) {
  std::vector<Entry> entries;
  std::uint64_t stream = 0;
  const auto add = [&](const io::TensorSpec& spec, Content content, std::uint64_t values) {
    entries.push_back(entry_of(spec, content, values));
  };
  for (const quantize::TensorPlan& tensor : plan.tensors) {
    ++stream;
    if (tensor.stored) {
      const auto same = [&](const Entry& entry) { return entry.info.name == tensor.source; };
      add(*tensor.stored, std::find_if(source.begin(), source.end(), same)->content, stream);
      continue;
    }
    if (tensor.table) {
      for (Entry& entry : table_entries(tensor, stream)) entries.push_back(std::move(entry));
      continue;
    }
    const quantize::StoredModule& module = *tensor.quantized;
    const Content scales =
        tensor.scheme.weights->num_bits == 4 ? Content::kScales4 : Content::kScales8;
    add(module.codes, Content::kCodes, stream);
    add(module.scales, scales, stream);
    if (module.zero_points) add(*module.zero_points, Content::kZeroPoints, stream);
    if (module.shape) {
      add(*module.shape, Content::kShape, stream);
      entries.back().shape = {static_cast<std::int64_t>(tensor.shape[0]),
                              static_cast<std::int64_t>(tensor.shape[1])};
    }
    if (tensor.twin) {
      add(tensor.twin->scales, scales, stream);
      if (tensor.twin->zero_points) add(*tensor.twin->zero_points, Content::kZeroPoints, stream);
    }
  }
  return entries;
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
  const bool is_table = has_table_weights(weights);
  if (is_table && weights.activations) {
    return Error{
        Error::Kind::kUnsupported,
        "random weights: expected a table without 8-bit activations, got " + scheme_name(weights)};
  }
  Json plain = config;
  if (plain.is_object() && plain.contains("quantization_config")) {
    const Json quantization = plain["quantization_config"];
    plain.erase("quantization_config");
    if (quantization.is_object() && quantization.contains("transform_config")) {
      plain["quantization_config"] = quantize::transforms_only(quantization["transform_config"]);
    }
  }
  FPTQ_TRY(const model::LlamaConfig sizes,
           model::parse_llama_config(plain, "random weights: config"));
  const auto source =
      std::make_shared<RandomCheckpoint>(std::move(plain), float_entries(sizes), seed);
  if (!weights.weights) return std::shared_ptr<const io::Checkpoint>(source);

  quantize::Recipe recipe;
  recipe.linears.scheme = weights;
  if (!is_table) {
    if (!weights.activations) recipe.linears.scheme.activations = a8_dynamic_per_token();
    const QuantArgs table = int_weights(8, Strategy::kChannel, 0, /*symmetric=*/true);
    recipe.embedding.scheme = {table, std::nullopt};
    recipe.classifier.scheme = {table, recipe.linears.scheme.activations};
  }
  FPTQ_TRY(const quantize::Plan plan, quantize::make_plan(recipe, *source));
  return std::shared_ptr<const io::Checkpoint>(std::make_shared<RandomCheckpoint>(
      quantize::output_config(plan, *source), quantized_entries(plan, float_entries(sizes)), seed));
}

}  // namespace fptq::bench
