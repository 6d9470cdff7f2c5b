// Checkpoints as Hugging Face's libraries save them.

#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "io/checkpoint.h"

namespace fptq::io {

// Opens a directory that holds config.json and its weights: model.safetensors, or shards with
// model.safetensors.index.json, or one file *.safetensors of any other name.
//
//   directory  where the files are
//   name       what the user called it, for path()
//
// Errors: kNotFound names the file that is missing (config.json, a shard); kFormat where a file
// breaks its format, where the index names a tensor that its shard does not hold or a shard
// outside the directory, and where two shards hold the same tensor; kUnsupported where the
// weights are pickles. A tensor that the index does not list is used, with a warning.
//
// Tensors of a bare LlamaModel ("layers.0.mlp.up_proj.weight", "norm.weight") appear under their
// names within a LlamaForCausalLM ("model.layers..."), and so do the names in quantization_config;
// kFormat where both forms are there. A tied matrix appears under the embedding's name.
[[nodiscard]] Result<std::unique_ptr<Checkpoint>> open_hf_checkpoint(
    const std::filesystem::path& directory, const std::filesystem::path& name);

}  // namespace fptq::io
