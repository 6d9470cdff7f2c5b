#include "eval/explain_parts.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "model/decoder_block.h"
#include "model/mixed_checkpoint.h"
#include "model/table_module.h"
#include "model/weights.h"

namespace fptq::eval {
namespace {

constexpr std::size_t kSampledRows = 4096;
constexpr double kOtherBasis = 0.25;
constexpr std::uint64_t kScaleBytes = 2;

// sum (a - b)^2 / sum a^2 of the two embeddings' rows.
Result<double> embedding_distance(const io::Checkpoint& base, const io::Checkpoint& candidate,
                                  const model::LlamaConfig& base_config,
                                  const model::LlamaConfig& config, ThreadPool& pool) {
  const model::LoadOptions options{.pool = &pool};
  FPTQ_TRY(const auto before, model::bind_embedding(base, base_config, options));
  FPTQ_TRY(const auto after, model::bind_embedding(candidate, config, options));
  const std::size_t step = std::max<std::size_t>(1, config.vocab_size / kSampledRows);
  std::vector<float> a(config.hidden_size);
  std::vector<float> b(config.hidden_size);
  double length = 0;
  double distance = 0;
  for (std::size_t row = 0; row < config.vocab_size; row += step) {
    const auto id = static_cast<std::int32_t>(row);
    before.lookup({&id, 1}, a.data());
    after.lookup({&id, 1}, b.data());
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
      distance += difference * difference;
      length += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    }
  }
  return length > 0 ? distance / length : 0.0;
}

Result<bool> same_vector(const io::Checkpoint& base, const io::Checkpoint& candidate,
                         const std::string& name) {
  FPTQ_TRY(const Tensor a, base.read(name));
  FPTQ_TRY(const Tensor b, candidate.read(name));
  if (a.elements() != b.elements()) return false;
  std::vector<float> x(a.elements());
  std::vector<float> y(b.elements());
  a.read_f32(0, x.size(), x.data());
  b.read_f32(0, y.size(), y.data());
  return x == y;
}

std::optional<model::ModuleQuantization> quantization_of(const model::LlamaConfig& config,
                                                         const std::string& module) {
  if (!config.quantization) return std::nullopt;
  const bool embedding = module == model::kEmbeddingModuleName;
  return config.quantization->find(
      module, embedding ? model::ModuleKind::kEmbedding : model::ModuleKind::kLinear);
}

// [N, K]; nothing for norms.
std::optional<Shape> weight_shape(const model::LlamaConfig& config, const std::string& module) {
  if (module == model::kEmbeddingModuleName || module == model::kClassifierModuleName) {
    return Shape{config.vocab_size, config.hidden_size};
  }
  for (const model::BlockLinear linear : model::kBlockLinears) {
    if (module.ends_with(model::block_linear_name(linear))) {
      return model::block_linear_shape(config, linear);
    }
  }
  return std::nullopt;
}

std::string scheme_of(const io::Checkpoint& checkpoint, const model::LlamaConfig& config,
                      const std::string& module, const Shape& shape) {
  if (auto found = quantization_of(config, module)) {
    found->scheme.weights = model::without_blocks(*found->scheme.weights, shape[1]);
    return scheme_name(found->scheme);
  }
  if (config.quantization && config.quantization->is_bitsandbytes() &&
      model::find_table_state(checkpoint, module) != nullptr) {
    const auto state = model::read_table_state(checkpoint, module);
    if (state) return scheme_name({state->weights, std::nullopt});
  }
  const io::TensorInfo* info = checkpoint.find(module + ".weight");
  if (info == nullptr) info = checkpoint.find(std::string(model::kEmbeddingModuleName) + ".weight");
  std::string type = info == nullptr ? "" : info->stored_type;
  for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return type;
}

}  // namespace

Result<ModelChanges> find_changes(const io::Checkpoint& base, const io::Checkpoint& candidate,
                                  ThreadPool& pool) {
  FPTQ_TRY(const model::LlamaConfig base_config,
           model::parse_llama_config(base.config(), base.path().string()));
  ModelChanges changes;
  FPTQ_TRY(changes.config,
           model::parse_llama_config(candidate.config(), candidate.path().string()));
  changes.modules = model::module_names(changes.config);
  for (const std::string& module : changes.modules) {
    const auto found = quantization_of(changes.config, module);
    if (found && found->scheme.activations) changes.quantized_activations = true;
  }
  // Models of other shapes are told where they are put together.
  const bool comparable = base_config.vocab_size == changes.config.vocab_size &&
                          base_config.hidden_size == changes.config.hidden_size &&
                          base_config.num_layers == changes.config.num_layers &&
                          !base_config.quantization;
  if (!comparable) return changes;
  FPTQ_TRY(const double distance,
           embedding_distance(base, candidate, base_config, changes.config, pool));
  changes.other_basis = distance > kOtherBasis;
  for (std::size_t layer = 0; layer < changes.config.num_layers; ++layer) {
    for (const std::string& norm : model::block_norm_names(layer)) {
      FPTQ_TRY(const bool same, same_vector(base, candidate, norm + ".weight"));
      changes.changed_norms |= !same;
    }
  }
  return changes;
}

std::vector<ExplainedPart> explained_parts(const ModelChanges& changes, bool blocks) {
  std::vector<ExplainedPart> parts;
  const auto add = [&](const std::string& name, std::set<std::string> modules) {
    parts.push_back(ExplainedPart{.name = name, .modules = std::move(modules)});
  };
  add(model::kEmbeddingModuleName, {model::kEmbeddingModuleName});
  for (std::size_t layer = 0; layer < changes.config.num_layers; ++layer) {
    std::set<std::string> block;
    for (const model::BlockLinear linear : model::kBlockLinears) {
      const std::string module = model::block_module_name(layer, linear);
      block.insert(module);
      if (!blocks) add(module, {module});
    }
    if (!blocks) continue;
    for (const std::string& norm : model::block_norm_names(layer)) block.insert(norm);
    add("model.layers." + std::to_string(layer), std::move(block));
  }
  add(model::kClassifierModuleName, {model::kClassifierModuleName, model::kFinalNormName});
  return parts;
}

PartDivergence describe_part(const ExplainedPart& part, const io::Checkpoint& candidate,
                             const ModelChanges& changes) {
  PartDivergence result;
  result.name = part.name;
  std::int64_t w8c_bytes = 0;
  for (const std::string& module : part.modules) {
    const std::optional<Shape> shape = weight_shape(changes.config, module);
    if (!shape) continue;
    const std::string scheme = scheme_of(candidate, changes.config, module, *shape);
    if (result.scheme.empty()) result.scheme = scheme;
    if (result.scheme != scheme) result.scheme = "mixed";
    result.bytes += model::stored_module_bytes(candidate, module);
    w8c_bytes += static_cast<std::int64_t>((*shape)[0] * ((*shape)[1] + kScaleBytes));
  }
  if (!part.modules.empty()) {
    result.bytes_to_w8c = w8c_bytes - static_cast<std::int64_t>(result.bytes);
  }
  return result;
}

void sort_parts(std::vector<PartDivergence>& parts) {
  for (PartDivergence& part : parts) {
    if (!part.bytes_to_w8c || *part.bytes_to_w8c <= 0) continue;
    part.nats_per_mb = part.nats / (static_cast<double>(*part.bytes_to_w8c) / 1e6);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) {
    if (a.nats_per_mb.has_value() != b.nats_per_mb.has_value()) return a.nats_per_mb.has_value();
    if (a.nats_per_mb) return *a.nats_per_mb > *b.nats_per_mb;
    return a.nats > b.nats;
  });
}

}  // namespace fptq::eval
