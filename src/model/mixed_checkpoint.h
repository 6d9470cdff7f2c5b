// A checkpoint put together from two: some modules of a candidate in its base.

#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"

namespace fptq::model {

inline constexpr char kEmbeddingModuleName[] = "model.embed_tokens";
inline constexpr char kClassifierModuleName[] = "lm_head";
inline constexpr char kFinalNormName[] = "model.norm";

// "model.layers.3.input_layernorm", "model.layers.3.post_attention_layernorm".
[[nodiscard]] std::vector<std::string> block_norm_names(std::size_t layer);

// Every module with tensors of its own: embedding, linears and norms of blocks, final norm,
// lm_head.
[[nodiscard]] std::vector<std::string> module_names(const LlamaConfig& config);

// The base with the tensors of these modules from the candidate: weights, scales, zero points,
// biases. config.json is the base's, with the candidate's quantization_config for those modules,
// and the others ignored in it. Embedding and classifier are never tied in it: where
// a checkpoint has one matrix for both, its tensors appear under both names, and no byte twice in
// memory. So LlamaModel runs it like any other.
//
//   modules  of module_names()
// Thread safety: that of its parts. Errors: kUnsupported for a base that is quantized;
// kInvalidArgument for models of different shapes, with what differs.
[[nodiscard]] Result<std::shared_ptr<const io::Checkpoint>> mix_checkpoints(
    std::shared_ptr<const io::Checkpoint> base, std::shared_ptr<const io::Checkpoint> candidate,
    const std::set<std::string>& modules);

// Bytes in the file of a module's weight: codes, scales, zero points, but no bias. A tied
// classifier counts as its embedding's bytes.
[[nodiscard]] std::uint64_t stored_module_bytes(const io::Checkpoint& checkpoint,
                                                const std::string& module);

}  // namespace fptq::model
