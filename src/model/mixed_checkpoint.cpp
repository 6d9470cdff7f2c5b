#include "model/mixed_checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "model/decoder_block.h"

namespace fptq::model {
namespace {

// The tensors whose names begin with `module` and a point.
std::vector<const io::TensorInfo*> tensors_of(const io::Checkpoint& checkpoint,
                                              const std::string& module) {
  const std::string prefix = module + ".";
  const auto tensors = checkpoint.tensors();
  auto found = std::lower_bound(
      tensors.begin(), tensors.end(), prefix,
      [](const io::TensorInfo& info, const std::string& name) { return info.name < name; });
  std::vector<const io::TensorInfo*> result;
  for (; found != tensors.end() && found->name.starts_with(prefix); ++found) {
    result.push_back(&*found);
  }
  return result;
}

// Whether the checkpoint has a matrix of codes or numbers under that name.
bool has_matrix(const io::Checkpoint& checkpoint, const std::string& module) {
  return checkpoint.find(module + ".weight") != nullptr ||
         checkpoint.find(module + ".weight_packed") != nullptr;
}

// Inputs of the base's modules stay as they are.
void ignore_in_transforms(const std::vector<std::string>& all,
                          const std::set<std::string>& from_candidate, Json& quantization) {
  const auto transforms = quantization.find("transform_config");
  if (transforms == quantization.end() || !transforms->is_object()) return;
  const auto groups = transforms->find("config_groups");
  if (groups == transforms->end() || !groups->is_object()) return;
  for (Json& group : *groups) {
    if (!group.contains("apply")) continue;
    for (Json& entry : group["apply"]) {
      Json& ignore = entry["ignore"];
      if (ignore.is_string()) ignore = Json::array({ignore});
      if (!ignore.is_array()) ignore = Json::array();
      for (const std::string& module : all) {
        if (!from_candidate.contains(module)) ignore.push_back(module);
      }
    }
  }
}

class MixedCheckpoint final : public io::Checkpoint {
 public:
  MixedCheckpoint(std::shared_ptr<const io::Checkpoint> base,
                  std::shared_ptr<const io::Checkpoint> candidate)
      : base_(std::move(base)), candidate_(std::move(candidate)), config_(base_->config()) {}

  void add_module(const std::string& module, bool from_candidate) {
    const auto& from = from_candidate ? candidate_ : base_;
    for (const io::TensorInfo* info : tensors_of(*from, module)) add(*info, info->name, from.get());
    if (module != kClassifierModuleName || has_matrix(*from, module)) return;
    for (const io::TensorInfo* info : tensors_of(*from, kEmbeddingModuleName)) {
      const std::string part = info->name.substr(std::string_view(kEmbeddingModuleName).size());
      const std::string name = std::string(kClassifierModuleName) + part;
      if (from->find(name) == nullptr) add(*info, name, from.get());
    }
  }

  void finish(const std::vector<std::string>& all, const std::set<std::string>& from_candidate) {
    std::sort(parts_.begin(), parts_.end(),
              [](const Part& a, const Part& b) { return a.info.name < b.info.name; });
    for (const Part& part : parts_) infos_.push_back(part.info);
    config_["tie_word_embeddings"] = false;
    const auto quantization = candidate_->config().find("quantization_config");
    if (from_candidate.empty() || quantization == candidate_->config().end() ||
        quantization->is_null()) {
      return;
    }
    Json restricted = *quantization;
    if (restricted.contains("config_groups")) {
      Json& ignore = restricted["ignore"];
      if (!ignore.is_array()) ignore = Json::array();
      for (const std::string& module : all) {
        if (!from_candidate.contains(module)) ignore.push_back(module);
      }
    }
    ignore_in_transforms(all, from_candidate, restricted);
    config_["quantization_config"] = std::move(restricted);
  }

  const std::filesystem::path& path() const override { return candidate_->path(); }
  std::string_view container() const override { return candidate_->container(); }
  const Json& config() const override { return config_; }
  std::span<const io::TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override {
    const Part* part = find_part(name);
    if (part == nullptr) {
      return Error{Error::Kind::kNotFound,
                   path().string() + ": no tensor \"" + std::string(name) + "\""};
    }
    return part->from->read(part->name);
  }
  void release(std::string_view name) const override {
    const Part* part = find_part(name);
    if (part != nullptr) part->from->release(part->name);
  }
  Result<io::TokenizerFiles> tokenizer() const override { return base_->tokenizer(); }
  std::uint64_t weight_file_bytes() const override { return candidate_->weight_file_bytes(); }
  std::span<const std::string> warnings() const override { return {}; }

 private:
  struct Part {
    io::TensorInfo info;
    std::string name;  // in `from`
    const io::Checkpoint* from;
  };

  void add(const io::TensorInfo& info, const std::string& as, const io::Checkpoint* from) {
    Part part{info, info.name, from};
    part.info.name = as;
    parts_.push_back(std::move(part));
  }

  const Part* find_part(std::string_view name) const {
    const auto found =
        std::lower_bound(parts_.begin(), parts_.end(), name,
                         [](const Part& part, std::string_view n) { return part.info.name < n; });
    return found != parts_.end() && found->info.name == name ? &*found : nullptr;
  }

  std::shared_ptr<const io::Checkpoint> base_;
  std::shared_ptr<const io::Checkpoint> candidate_;
  Json config_;
  std::vector<Part> parts_;  // sorted by name
  std::vector<io::TensorInfo> infos_;
};

Status check_same_shape(const LlamaConfig& a, const LlamaConfig& b, const std::string& where) {
  const auto differs = [&](const char* key, std::size_t x, std::size_t y) -> Status {
    if (x == y) return {};
    return Error{Error::Kind::kInvalidArgument,
                 where + ": " + key + ": expected " + std::to_string(x) + " as in the base, got " +
                     std::to_string(y) + ". Is the candidate made from that base?"};
  };
  FPTQ_TRY_VOID(differs("vocab_size", a.vocab_size, b.vocab_size));
  FPTQ_TRY_VOID(differs("hidden_size", a.hidden_size, b.hidden_size));
  FPTQ_TRY_VOID(differs("intermediate_size", a.intermediate_size, b.intermediate_size));
  FPTQ_TRY_VOID(differs("num_hidden_layers", a.num_layers, b.num_layers));
  FPTQ_TRY_VOID(differs("num_attention_heads", a.num_heads, b.num_heads));
  FPTQ_TRY_VOID(differs("num_key_value_heads", a.num_kv_heads, b.num_kv_heads));
  return differs("head_dim", a.head_dim, b.head_dim);
}

}  // namespace

std::vector<std::string> block_norm_names(std::size_t layer) {
  const std::string block = "model.layers." + std::to_string(layer);
  return {block + ".input_layernorm", block + ".post_attention_layernorm"};
}

std::vector<std::string> module_names(const LlamaConfig& config) {
  std::vector<std::string> names = {kEmbeddingModuleName};
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    for (std::string& norm : block_norm_names(layer)) names.push_back(std::move(norm));
    for (const BlockLinear linear : kBlockLinears) {
      names.push_back(block_module_name(layer, linear));
    }
  }
  names.emplace_back(kFinalNormName);
  names.emplace_back(kClassifierModuleName);
  return names;
}

Result<std::shared_ptr<const io::Checkpoint>> mix_checkpoints(
    std::shared_ptr<const io::Checkpoint> base, std::shared_ptr<const io::Checkpoint> candidate,
    const std::set<std::string>& modules) {
  const std::string base_path = base->path().string();
  const std::string candidate_path = candidate->path().string();
  FPTQ_TRY(const LlamaConfig config, parse_llama_config(base->config(), base_path));
  FPTQ_TRY(const LlamaConfig other, parse_llama_config(candidate->config(), candidate_path));
  if (config.quantization) {
    return Error{Error::Kind::kUnsupported,
                 base_path + ": expected a base in floating point, got one that is quantized"};
  }
  FPTQ_TRY_VOID(check_same_shape(config, other, candidate_path));
  const std::vector<std::string> all = module_names(config);
  for (const std::string& module : modules) {
    FPTQ_CHECK(std::find(all.begin(), all.end(), module) != all.end(), "a module of the model");
  }
  auto mixed = std::make_shared<MixedCheckpoint>(std::move(base), std::move(candidate));
  for (const std::string& module : all) mixed->add_module(module, modules.contains(module));
  mixed->finish(all, modules);
  return std::shared_ptr<const io::Checkpoint>(std::move(mixed));
}

std::uint64_t stored_module_bytes(const io::Checkpoint& checkpoint, const std::string& module) {
  const bool tied = module == kClassifierModuleName && !has_matrix(checkpoint, module);
  std::uint64_t bytes = 0;
  for (const io::TensorInfo* info : tensors_of(checkpoint, tied ? kEmbeddingModuleName : module)) {
    if (!info->name.ends_with(".bias")) bytes += info->stored_bytes;
  }
  return bytes;
}

}  // namespace fptq::model
