// Llama checkpoints in GGUF files.

#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "io/checkpoint.h"

namespace fptq::io {

// Opens a .gguf file, or the first part (-00001-of-0000N) of a split one with all other parts.
// Tensors get Hugging Face's names, query and key rows its order; blocks are dequantized to
// float32 when they are read. config() and tokenizer() are derived from the metadata.
//
//   name  what the user called it, for path()
//
// Errors: kNotFound names a missing part; those of parse_gguf() and llama_config_of_gguf();
// kUnsupported names a tensor that no Llama model has.
[[nodiscard]] Result<std::unique_ptr<Checkpoint>> open_gguf_checkpoint(
    const std::filesystem::path& file, const std::filesystem::path& name);

}  // namespace fptq::io
