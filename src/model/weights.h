// A checkpoint's tensors bound to the layers of a Llama model.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "model/llama_config.h"
#include "model/llama_model.h"
#include "ops/embedding.h"
#include "ops/hadamard.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace fptq::model {

// One decoder block.
struct BlockWeights {
  ops::RmsNorm attn_norm;  // input_layernorm
  ops::Linear q_proj;
  ops::Linear k_proj;
  ops::Linear v_proj;
  ops::Linear o_proj;
  ops::RmsNorm mlp_norm;  // post_attention_layernorm
  ops::Linear gate_proj;
  ops::Linear up_proj;
  ops::Linear down_proj;
  std::optional<ops::BlockHadamard> down_rotation;  // of its inputs, before they are quantized
};

// What follows the blocks.
struct OutputWeights {
  ops::RmsNorm final_norm;
  ops::Linear classifier;         // lm_head
  bool shares_embedding = false;  // the classifier reads the embedding's bytes
};

struct ModelWeights {
  ops::Embedding embedding;
  std::string embedding_scheme;  // "w8c", "bf16"
  std::vector<BlockWeights> blocks;
  ops::RmsNorm final_norm;
  ops::Linear classifier;         // lm_head
  bool shares_embedding = false;  // the classifier reads the embedding's bytes
  std::vector<std::string> warnings;
};

// Binds every tensor of the checkpoint. Float matrices are used where they lie in the mapped file;
// quantized ones are packed for the kernels.
//
// Every float tensor is checked for NaN and infinity, whatever its size: the check reads once what
// a forward pass reads for every token.
//
// Errors: kFormat and kUnsupported name tensor or module, expected and found; kLimit where the
// packed weights exceed options.ram_limit_bytes.
[[nodiscard]] Result<ModelWeights> bind_weights(const io::Checkpoint& checkpoint,
                                                const LlamaConfig& config,
                                                const LoadOptions& options);

// One block of it, the embedding, and what follows the blocks, for who walks through a model larger
// than memory. What the rest of the checkpoint holds is not looked at.
[[nodiscard]] Result<BlockWeights> bind_block(const io::Checkpoint& checkpoint,
                                              const LlamaConfig& config, std::size_t layer,
                                              const LoadOptions& options);
[[nodiscard]] Result<ops::Embedding> bind_embedding(const io::Checkpoint& checkpoint,
                                                    const LlamaConfig& config,
                                                    const LoadOptions& options);
[[nodiscard]] Result<OutputWeights> bind_output(const io::Checkpoint& checkpoint,
                                                const LlamaConfig& config,
                                                const LoadOptions& options);

}  // namespace fptq::model
