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

}  // namespace fptq::quantize
