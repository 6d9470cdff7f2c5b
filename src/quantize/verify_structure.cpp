// What a loader would make of the directory.

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/llama_config.h"
#include "model/quantized_module.h"
#include "model/table_module.h"
#include "model/tensor_reader.h"
#include "quantize/llama_modules.h"
#include "quantize/verify_steps.h"

namespace fptq::quantize {
namespace {

constexpr char kRecipeFile[] = "recipe.yaml";

// Reads one module as the model would, and lets go of it.
Status check_module(model::TensorReader& reader, const LlamaModule& module,
                    const model::LlamaConfig& config) {
  const auto& quantization = config.quantization;
  const std::size_t rows = module.shape[0];
  const std::size_t cols = module.shape[1];
  const bool has_codes = reader.has(module.weight()) || reader.has(module.name + ".weight_packed");
  const bool shared = module.role == LlamaModule::Role::kClassifier && config.tied_embeddings;
  if (shared && !has_codes) {
    // Scales of the embedding a second time.
    for (const char* part : {".weight_scale", ".weight_zero_point"}) reader.use(module.name + part);
    return {};
  }
  if (quantization && quantization->is_bitsandbytes() &&
      model::find_table_state(reader.checkpoint(), module.name) != nullptr) {
    const auto table = model::read_table_module(reader, module.name, rows, cols);
    return table ? Status() : Status(table.error());
  }
  auto found = quantization ? quantization->find(module.name, module.kind()) : std::nullopt;
  if (found) {
    found->scheme.weights = model::without_blocks(*found->scheme.weights, cols);
    const auto packed = model::read_quantized_module(reader, module.name, rows, cols, *found);
    return packed ? Status() : Status(packed.error());
  }
  FPTQ_TRY(const Tensor weight, reader.read_float(module.weight(), module.shape));
  return reader.check_finite(module.weight(), weight);
}

}  // namespace

Status Verification::check_structure() {
  const auto checkpoint = io::open_checkpoint(directory_);
  if (!checkpoint) {
    add("", checkpoint.error().message);
    return {};
  }
  const auto config =
      model::parse_llama_config((*checkpoint)->config(), (directory_ / "config.json").string());
  if (!config) {
    add("config.json", config.error().message);
    return {};
  }
  model::TensorReader reader(**checkpoint, *options_.pool);
  const std::vector<LlamaModule> modules = llama_modules(*config);
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const Status status = check_module(reader, modules[i], *config);
    if (!status) add("", status.error().message);
    for (const char* part : {".weight", ".weight_packed"}) {
      if (reader.has(modules[i].name + part)) (*checkpoint)->release(modules[i].name + part);
    }
    FPTQ_TRY_VOID(step("checking the structure", i + 1, modules.size()));
  }
  for (const LlamaVector& vector : llama_vectors(*config)) {
    const auto values = reader.read_float(vector.name, vector.shape);
    const Status status =
        values ? reader.check_finite(vector.name, *values) : Status(values.error());
    if (!status) add("", status.error().message);
  }
  for (const std::string& name : reader.unused()) {
    const bool of_model = name.starts_with("model.") || name.starts_with("lm_head.");
    if (!of_model || name.ends_with(".rotary_emb.inv_freq")) continue;
    add({"", name, {}, "not part of the model that config.json describes"});
  }
  return {};
}

void Verification::check_recipe() {
  if (!manifest_.files.contains(kRecipeFile)) {
    add(kManifestFile, "expected recipe.yaml among the files, got none");
    return;
  }
  const auto text = read_text_file(directory_ / kRecipeFile, std::uint64_t{1} << 24);
  if (!text) return;  // has been told
  auto recipe = parse_recipe(*text, (directory_ / kRecipeFile).string());
  if (!recipe) {
    add(kRecipeFile, recipe.error().message);
    return;
  }
  if (recipe->name != manifest_.recipe) {
    add(kRecipeFile, "expected recipe \"" + manifest_.recipe + "\", as the manifest says, got \"" +
                         recipe->name + "\"");
  }
  if (recipe->seed != manifest_.seed) {
    add(kRecipeFile, "expected seed " + std::to_string(manifest_.seed) +
                         ", as the manifest says, got " + std::to_string(recipe->seed));
  }
  if (recipe->needs_calibration() != manifest_.calibration_sha256.has_value()) {
    add(kManifestFile, recipe->needs_calibration()
                           ? "expected the calibration's sha256, as the recipe needs one, got none"
                           : "expected no calibration, as the recipe needs none, got one");
  }
  recipe_ = *std::move(recipe);
}

}  // namespace fptq::quantize
