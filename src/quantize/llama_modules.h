// The linears and embeddings of a Llama model, as config.json describes them.

#pragma once

#include <string>
#include <vector>

#include "model/llama_config.h"
#include "tensor/tensor.h"

namespace fptq::quantize {

inline constexpr char kEmbeddingModule[] = "model.embed_tokens";
inline constexpr char kClassifierModule[] = "lm_head";

struct LlamaModule {
  enum class Role { kLinear, kEmbedding, kClassifier };

  std::string name;  // "model.layers.0.mlp.up_proj"
  Role role;
  Shape shape;  // [N, K]

  [[nodiscard]] std::string weight() const { return name + ".weight"; }
  [[nodiscard]] model::ModuleKind kind() const {
    return role == Role::kEmbedding ? model::ModuleKind::kEmbedding : model::ModuleKind::kLinear;
  }
};

// All of them in the model's order: the embedding first, the classifier last, tied or not.
[[nodiscard]] std::vector<LlamaModule> llama_modules(const model::LlamaConfig& config);

// A norm's or a bias's tensor, which is never quantized.
struct LlamaVector {
  std::string name;  // "model.norm.weight"
  Shape shape;
};

// All of them: biases, then norms.
[[nodiscard]] std::vector<LlamaVector> llama_vectors(const model::LlamaConfig& config);

}  // namespace fptq::quantize
