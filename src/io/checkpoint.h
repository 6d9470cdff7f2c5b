// One face for every kind of checkpoint: a Hugging Face directory, a GGUF file, a llama2.c file.

#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::io {

// What is known of a tensor without reading it.
struct TensorInfo {
  std::string name;  // Hugging Face's: "model.layers.0.self_attn.q_proj.weight"
  DType dtype;       // of what read() returns
  Shape shape;
  std::uint64_t stored_bytes;  // in the file; GGUF's blocks take fewer than dtype and shape say
  std::string stored_type;     // "BF16", "Q4_K"
  std::string file;            // where it is stored, for messages
  // Of values that are computed in float32: the type that they are written in where they stay
  // floats. Absent: `dtype`.
  std::optional<DType> kept_as = {};
};

// Everything about text that a checkpoint carries.
struct TokenizerFiles {
  // The contents of tokenizer.json; for GGUF and llama2.c made from the vocabulary inside.
  std::string tokenizer_json;
  // tokenizer_config.json, generation_config.json, special_tokens_map.json, chat_template.jinja:
  // name -> contents, those that exist. For GGUF made from its metadata (bos/eos ids, template).
  std::map<std::string, std::string> others;
};

// A checkpoint opened for reading. Tensors appear under Hugging Face's names and row order
// whatever the container; values are what the file holds, quantized GGUF blocks dequantized to
// float32.
//
// Thread safety: const member functions may be called from several threads.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // The path as the user gave it, for messages.
  [[nodiscard]] virtual const std::filesystem::path& path() const = 0;
  // "safetensors", "gguf" or "llama2.c".
  [[nodiscard]] virtual std::string_view container() const = 0;
  // config.json in Hugging Face's vocabulary (for GGUF and llama2.c derived from their headers).
  [[nodiscard]] virtual const Json& config() const = 0;
  // Every tensor, sorted by name.
  [[nodiscard]] virtual std::span<const TensorInfo> tensors() const = 0;
  // The tensor's values: a view into the mapped file where the container stores them as they
  // are, else a buffer of its own. Errors: kNotFound, kFormat, kLimit.
  [[nodiscard]] virtual Result<Tensor> read(std::string_view name) const = 0;
  // Tells the system that the bytes behind a tensor are not needed soon.
  virtual void release(std::string_view name) const = 0;
  // Errors: kNotFound where the checkpoint has no tokenizer, with what to do.
  [[nodiscard]] virtual Result<TokenizerFiles> tokenizer() const = 0;
  // Bytes on disk of the files that hold weights.
  [[nodiscard]] virtual std::uint64_t weight_file_bytes() const = 0;
  // What a user should know though it is no error: a config key that contradicts the weights, ...
  [[nodiscard]] virtual std::span<const std::string> warnings() const = 0;

  // The entry of tensors() with that name, or null.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;
};

// Opens MODEL: a directory with config.json and *.safetensors, a .gguf file, or a llama2.c .bin
// (its tokenizer.bin is looked for beside it under the names tokenizer.bin and tok*.bin).
// Reads headers only. Errors: kNotFound, kFormat, kUnsupported, each naming the file.
[[nodiscard]] Result<std::unique_ptr<Checkpoint>> open_checkpoint(
    const std::filesystem::path& model);

}  // namespace fptq::io
