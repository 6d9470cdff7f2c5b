#include "quantize/llama_modules.h"

namespace fptq::quantize {

std::vector<LlamaModule> llama_modules(const model::LlamaConfig& config) {
  using Role = LlamaModule::Role;
  const std::size_t width = config.hidden_size;
  const std::size_t inner = config.intermediate_size;
  std::vector<LlamaModule> modules = {
      {kEmbeddingModule, Role::kEmbedding, {config.vocab_size, width}}};
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    modules.push_back({block + "self_attn.q_proj", Role::kLinear, {config.q_width(), width}});
    modules.push_back({block + "self_attn.k_proj", Role::kLinear, {config.kv_width(), width}});
    modules.push_back({block + "self_attn.v_proj", Role::kLinear, {config.kv_width(), width}});
    modules.push_back({block + "self_attn.o_proj", Role::kLinear, {width, config.q_width()}});
    modules.push_back({block + "mlp.gate_proj", Role::kLinear, {inner, width}});
    modules.push_back({block + "mlp.up_proj", Role::kLinear, {inner, width}});
    modules.push_back({block + "mlp.down_proj", Role::kLinear, {width, inner}});
  }
  modules.push_back({kClassifierModule, Role::kClassifier, {config.vocab_size, width}});
  return modules;
}

std::vector<LlamaVector> llama_vectors(const model::LlamaConfig& config) {
  std::vector<LlamaVector> vectors;
  for (const LlamaModule& module : llama_modules(config)) {
    const bool attention = module.name.find(".self_attn.") != std::string::npos;
    const bool biased = attention ? config.attention_bias : config.mlp_bias;
    if (module.role != LlamaModule::Role::kLinear || !biased) continue;
    vectors.push_back({module.name + ".bias", {module.shape[0]}});
  }
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    vectors.push_back({block + "input_layernorm.weight", {config.hidden_size}});
    vectors.push_back({block + "post_attention_layernorm.weight", {config.hidden_size}});
  }
  vectors.push_back({"model.norm.weight", {config.hidden_size}});
  return vectors;
}

}  // namespace fptq::quantize
