#include "quantize/plan.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "model/llama_config.h"
#include "quantize/layer_pattern.h"
#include "quantize/llama_modules.h"
#include "quantize/recipe_fields.h"
#include "quantize/tensor_writing.h"

namespace fptq::quantize {
namespace {

// Whether a quantization_config only says what is done to inputs of float linears.
bool has_transforms_only(const Json& quantization) {
  const auto part = [&](const char* key) {
    return quantization.is_object() && quantization.contains(key) ? quantization[key] : Json();
  };
  return part("config_groups").empty() && part("transform_config").is_object() &&
         !part("transform_config").empty();
}

// What was chosen for single linears, and the recipe's overrides, ready to be searched.
class LayerChoices {
 public:
  static Result<LayerChoices> compile(const Recipe& recipe, const ChosenSchemes& chosen) {
    LayerChoices choices(recipe, chosen);
    for (const LayerOverride& layer : recipe.overrides) {
      FPTQ_TRY(LayerPattern pattern, LayerPattern::compile(layer.pattern));
      choices.patterns_.push_back(std::move(pattern));
    }
    choices.matched_.resize(recipe.overrides.size(), false);
    return choices;
  }

  LayerChoice choose(const LlamaModule& module) {
    LayerChoice choice = module.role == LlamaModule::Role::kLinear      ? recipe_.linears
                         : module.role == LlamaModule::Role::kEmbedding ? recipe_.embedding
                                                                        : recipe_.classifier;
    if (const auto found = chosen_.find(module.name); found != chosen_.end()) {
      choice = found->second;
    }
    bool decided = false;
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      if (!patterns_[i].found_in(module.name)) continue;
      matched_[i] = true;
      if (!decided) choice = recipe_.overrides[i].choice;
      decided = true;
    }
    if (module.role == LlamaModule::Role::kEmbedding) choice.scheme.activations.reset();
    // Nobody observes the classifier's inputs: a rule for all layers is dynamic for it.
    if (module.role == LlamaModule::Role::kClassifier) {
      choice.scheme.activations = made_dynamic(choice.scheme.activations);
    }
    return choice;
  }

  // Errors: kInvalidArgument for the first pattern that no module's name matched.
  Status check_all_matched() const {
    const auto unmatched = std::find(matched_.begin(), matched_.end(), false);
    if (unmatched == matched_.end()) return {};
    const auto index = static_cast<std::size_t>(unmatched - matched_.begin());
    return Error{Error::Kind::kInvalidArgument,
                 "override \"" + recipe_.overrides[index].pattern +
                     "\": expected to be found in the name of a layer, and no layer has such a "
                     "name. Names are like model.layers.0.mlp.down_proj, model.embed_tokens and "
                     "lm_head"};
  }

 private:
  LayerChoices(const Recipe& recipe, const ChosenSchemes& chosen)
      : recipe_(recipe), chosen_(chosen) {}

  const Recipe& recipe_;
  const ChosenSchemes& chosen_;
  std::vector<LayerPattern> patterns_;
  std::vector<bool> matched_;
};

Result<const io::TensorInfo*> find_tensor(const io::Checkpoint& checkpoint, const std::string& name,
                                          const Shape& shape) {
  const io::TensorInfo* info = checkpoint.find(name);
  if (info == nullptr) {
    return Error{Error::Kind::kFormat,
                 checkpoint.path().string() + ": tensor \"" + name + "\": expected " +
                     shape_text(shape) +
                     " from config.json, got no such tensor. Do config.json and the weights belong "
                     "together?"};
  }
  const std::string where = info->file + ": tensor \"" + name + "\": ";
  if (info->shape != shape) {
    return Error{Error::Kind::kFormat,
                 where + "expected " + shape_text(shape) + " from config.json, got " +
                     shape_text(info->shape) +
                     ". Do config.json and the weights belong to the same model?"};
  }
  if (!is_float_weight_dtype(info->dtype)) {
    return Error{Error::Kind::kFormat,
                 where + "expected F32, F16 or BF16, got " + std::string(dtype_name(info->dtype))};
  }
  return info;
}

// The tensors besides linears and embeddings: those of the model are there, and no others that
// belong to a model. A checkpoint that does not fit its config.json would become one that no
// program loads.
Status check_other_tensors(const io::Checkpoint& checkpoint, const model::LlamaConfig& config) {
  std::set<std::string> expected;
  for (const LlamaVector& vector : llama_vectors(config)) {
    FPTQ_TRY(const io::TensorInfo* info, find_tensor(checkpoint, vector.name, vector.shape));
    expected.insert(info->name);
  }
  for (const LlamaModule& module : llama_modules(config)) expected.insert(module.weight());
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    const bool of_model = info.name.starts_with("model.") || info.name.starts_with("lm_head.");
    // Older files store what can be computed.
    const bool computed = info.name.ends_with(".rotary_emb.inv_freq");
    if (!of_model || computed || expected.contains(info.name)) continue;
    return Error{Error::Kind::kFormat, info.file + ": tensor \"" + info.name +
                                           "\": expected no such tensor in the model that "
                                           "config.json describes, got one of shape " +
                                           shape_text(info.shape)};
  }
  return {};
}

// Codes under the name "X.weight" are what loaders tie; packed ones they do not.
bool can_share_codes(const LayerChoice& embedding, const LayerChoice& classifier) {
  const auto& weights = embedding.scheme.weights;
  if (weights != classifier.scheme.weights) return false;
  if (!weights) return embedding.cast == classifier.cast;
  if (has_table_weights(embedding.scheme)) return false;
  return storage_format(*weights) == "int-quantized";
}

// Whether a classifier that the checkpoint ships although config.json says tied is the embedding.
Result<bool> same_bytes(const io::Checkpoint& checkpoint, const std::string& a,
                        const std::string& b) {
  FPTQ_TRY(const Tensor first, checkpoint.read(a));
  FPTQ_TRY(const Tensor second, checkpoint.read(b));
  const bool same = first.dtype() == second.dtype() && first.shape() == second.shape() &&
                    std::equal(first.bytes().begin(), first.bytes().end(), second.bytes().begin());
  checkpoint.release(a);
  checkpoint.release(b);
  return same;
}

LayerChoice with_activations(LayerChoice choice, const LlamaModule& module,
                             const ActivationChoices& activations) {
  auto& own = choice.scheme.activations;
  const auto found = activations.find(module.name);
  if (found != activations.end() && own && own->num_bits == 8 && own->symmetric) {
    own = found->second;
  }
  return choice;
}

TensorPlan plan_weight(const Recipe& recipe, const io::TensorInfo& info, const LlamaModule& module,
                       const LayerChoice& choice) {
  TensorPlan plan{info.name, info.shape, module.name, {}, {}, {}, choice.scheme, {}};
  const DType source_dtype = info.kept_as.value_or(info.dtype);
  if (has_table_weights(choice.scheme)) {
    plan.table = stored_table(module.name, *choice.scheme.weights, info.shape[0], info.shape[1],
                              source_dtype);
  } else if (choice.scheme.weights) {
    const DType scale_dtype =
        recipe.scale_dtype.value_or(source_dtype == DType::kBF16 ? DType::kBF16 : DType::kF16);
    plan.quantized =
        stored_module(module.name, choice.scheme, info.shape[0], info.shape[1], scale_dtype);
  } else {
    plan.stored = io::TensorSpec{module.weight(), choice.cast.value_or(source_dtype), info.shape};
  }
  return plan;
}

std::uint64_t elements(const Shape& shape) {
  return element_count(shape).value_or(0);
}

// Totals, once the tensors are decided.
void add_up(const io::Checkpoint& checkpoint, Plan& plan) {
  std::uint64_t linear_bytes = 0;
  std::uint64_t linear_weights = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    const std::uint64_t count = elements(tensor.shape);
    plan.output_bytes += tensor.output_bytes();
    plan.parameters += count;
    if (tensor.module.starts_with("model.layers.")) {
      linear_bytes += tensor.output_bytes();
      linear_weights += count;
    }
    const io::TensorInfo& info = *checkpoint.find(tensor.source);
    // Containers that store something else than the values give a copy of the whole tensor.
    const std::uint64_t dense_bytes = count * dtype_bytes(info.dtype);
    const bool in_file = !info.kept_as && info.stored_bytes == dense_bytes;
    const std::uint64_t copy_bytes = in_file ? 0 : dense_bytes;
    plan.working_bytes = std::max(plan.working_bytes, copy_bytes + block_working_bytes(tensor));
  }
  if (plan.parameters != 0) {
    plan.bits_per_weight =
        8.0 * static_cast<double>(plan.output_bytes) / static_cast<double>(plan.parameters);
  }
  if (linear_weights != 0) {
    plan.linear_bits_per_weight =
        8.0 * static_cast<double>(linear_bytes) / static_cast<double>(linear_weights);
  }
}

}  // namespace

std::vector<io::TensorSpec> TensorPlan::outputs() const {
  if (stored) return {*stored};
  std::vector<io::TensorSpec> all;
  const auto parts = table ? table->tensors() : quantized->tensors();
  all.reserve(parts.size() + 2);
  for (const io::TensorSpec* part : parts) all.push_back(*part);
  if (twin) {
    all.push_back(twin->scales);
    if (twin->zero_points) all.push_back(*twin->zero_points);
  }
  return all;
}

std::uint64_t TensorPlan::output_bytes() const {
  std::uint64_t size = 0;
  for (const io::TensorSpec& tensor : outputs()) size += spec_bytes(tensor);
  return size;
}

std::vector<io::TensorSpec> Plan::output_tensors() const {
  std::vector<io::TensorSpec> all;
  for (const TensorPlan& tensor : tensors) {
    const std::vector<io::TensorSpec> outputs = tensor.outputs();
    all.insert(all.end(), outputs.begin(), outputs.end());
  }
  return all;
}

Result<Plan> make_plan(const Recipe& recipe, const io::Checkpoint& checkpoint,
                       const ActivationChoices& activations, const ChosenSchemes& chosen) {
  const std::string where = checkpoint.path().string();
  const auto quantization = checkpoint.config().find("quantization_config");
  if (quantization != checkpoint.config().end() && !quantization->is_null() &&
      !has_transforms_only(*quantization)) {
    return Error{Error::Kind::kUnsupported,
                 where +
                     ": expected a checkpoint in floating point, and config.json says that it "
                     "is quantized. Quantize the original, or dequantize this one with fptq "
                     "convert --to dense"};
  }
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint.config(), where + "/config.json"));
  FPTQ_TRY(LayerChoices choices, LayerChoices::compile(recipe, chosen));

  Plan plan;
  const std::string classifier_weight = std::string(kClassifierModule) + ".weight";
  const std::string embedding_weight = std::string(kEmbeddingModule) + ".weight";
  bool source_tied = config.tied_embeddings;
  bool drop_classifier = false;
  if (source_tied && checkpoint.find(classifier_weight) != nullptr) {
    FPTQ_TRY(drop_classifier, same_bytes(checkpoint, embedding_weight, classifier_weight));
    source_tied = drop_classifier;
    if (!source_tied) {
      plan.warnings.push_back(
          "config.json says that embedding and classifier are tied, but the weights hold another "
          "classifier; it is kept, and the output's config.json says that they are not tied");
    }
  }

  std::map<std::string, TensorPlan> decided;  // by source tensor
  std::optional<TensorPlan> split_classifier;
  LayerChoice embedding_choice;
  for (const LlamaModule& module : llama_modules(config)) {
    const LayerChoice choice = with_activations(choices.choose(module), module, activations);
    const bool is_embedding = module.role == LlamaModule::Role::kEmbedding;
    plan.modules.push_back(ModuleScheme{module.name, is_embedding, choice.scheme, module.shape[1]});
    if (is_embedding) embedding_choice = choice;
    if (module.role != LlamaModule::Role::kClassifier || !source_tied) {
      FPTQ_TRY(const io::TensorInfo* info, find_tensor(checkpoint, module.weight(), module.shape));
      decided.emplace(info->name, plan_weight(recipe, *info, module, choice));
      continue;
    }
    TensorPlan& embedding = decided.at(embedding_weight);
    const io::TensorInfo& info = *checkpoint.find(embedding_weight);
    plan.tied = can_share_codes(embedding_choice, choice);
    if (!plan.tied) {
      split_classifier = plan_weight(recipe, info, module, choice);
      plan.warnings.push_back(
          "embedding and classifier are tied in the source and quantized differently; the output "
          "holds both");
    } else if (choice.scheme.weights) {
      embedding.twin = plan_weight(recipe, info, module, choice).quantized;
    }
  }
  FPTQ_TRY_VOID(choices.check_all_matched());
  FPTQ_TRY_VOID(check_table_modules(plan.modules, source_tied));
  if (!config.down_rotations.empty() && has_tables(plan.modules)) {
    return Error{Error::Kind::kUnsupported,
                 where +
                     ": inputs of down_proj are rotated: expected weights that are integers, got "
                     "entries of a table, whose layout has no word for rotations"};
  }
  FPTQ_TRY_VOID(check_other_tensors(checkpoint, config));

  for (const io::TensorInfo& info : checkpoint.tensors()) {
    if (drop_classifier && info.name == classifier_weight) continue;
    const auto known = decided.find(info.name);
    if (known != decided.end()) {
      plan.tensors.push_back(known->second);
    } else {
      plan.tensors.push_back(
          TensorPlan{info.name,
                     info.shape,
                     "",
                     io::TensorSpec{info.name, info.kept_as.value_or(info.dtype), info.shape},
                     {},
                     {},
                     {},
                     {}});
    }
    if (info.name == embedding_weight && split_classifier) {
      plan.tensors.push_back(*split_classifier);
    }
  }
  add_up(checkpoint, plan);
  return plan;
}

Json output_config(const Plan& plan, const io::Checkpoint& checkpoint) {
  Json config = checkpoint.config();
  const auto tied = config.find("tie_word_embeddings");
  const bool was_tied = tied != config.end() && *tied == true;  // null stands for false
  if (was_tied != plan.tied) config["tie_word_embeddings"] = plan.tied;
  const auto quantized = [](const ModuleScheme& module) {
    return module.scheme.weights.has_value();
  };
  if (has_tables(plan.modules)) {
    const auto table = std::find_if(plan.tensors.begin(), plan.tensors.end(),
                                    [](const TensorPlan& tensor) { return tensor.table; });
    config["quantization_config"] = bitsandbytes_config(plan.modules, table->table->source_dtype);
  } else if (std::any_of(plan.modules.begin(), plan.modules.end(), quantized)) {
    Json made = quantization_config(plan.modules);
    // Weights are rounded as they are behind transformed inputs.
    const auto before = config.find("quantization_config");
    if (before != config.end() && before->is_object() && before->contains("transform_config")) {
      made["transform_config"] = (*before)["transform_config"];
    }
    config["quantization_config"] = std::move(made);
  }
  return config;
}

Status check_disk_space(const std::filesystem::path& directory, std::uint64_t bytes_needed) {
  struct statvfs info {};
  if (::statvfs(directory.empty() ? "." : directory.c_str(), &info) != 0) return {};
  const std::uint64_t bytes_free = std::uint64_t{info.f_bavail} * info.f_frsize;
  if (bytes_needed <= bytes_free) return {};
  return Error{Error::Kind::kLimit, directory.string() + ": the output needs " +
                                        std::to_string(bytes_needed) + " bytes, and " +
                                        std::to_string(bytes_free) +
                                        " are free. Free some space, or write to another disk"};
}

}  // namespace fptq::quantize
