// The files of llama2.c: a checkpoint is a header and float32 matrices in a fixed order.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::io {

// A float32 tensor under Hugging Face's name; its bytes begin at `begin` of the file.
struct Llama2cTensor {
  std::string name;
  Shape shape;
  std::size_t begin;
  std::size_t size_bytes;
  std::size_t rotary_heads;  // heads whose rows are interleaved pairs; 0: nothing to reorder
};

// What the header says, and where that puts each tensor.
struct Llama2cFile {
  int version;  // 0: without a magic number; 1
  std::size_t dim, hidden_dim, layers, heads, kv_heads, vocab_size, seq_len;
  bool tied;                           // the embedding serves as the classifier
  std::vector<Llama2cTensor> tensors;  // sorted by name
};

// Whether the bytes begin with the magic number of version 1 and later.
[[nodiscard]] bool has_llama2c_magic(std::span<const std::byte> file);

// Reads a whole checkpoint of version 0 (seven int32; a vocabulary size below 0: not tied) or 1
// (magic number "ak42", header of 256 bytes). `where` begins every message.
//
// Errors: kFormat for sizes that fit no model, and for a file that is longer or shorter than its
// header says, by how much; kUnsupported for version 2 (quantized) and unknown versions.
// Source: karpathy/llama2.c, run.c and export.py.
[[nodiscard]] Result<Llama2cFile> parse_llama2c(std::span<const std::byte> file,
                                                const std::string& where);

// tokenizer.bin: pieces and their scores by id.
struct Llama2cVocabulary {
  std::vector<std::string> tokens;
  std::vector<float> scores;
};

// Reads tokenizer.bin: int32 longest piece, then per piece float32 score, int32 length, bytes.
//
//   vocab_size  the checkpoint's; the file says none
//
// Errors: kFormat for a file that ends early, or does not end after that many pieces.
[[nodiscard]] Result<Llama2cVocabulary> parse_llama2c_vocabulary(std::span<const std::byte> file,
                                                                 std::size_t vocab_size,
                                                                 const std::string& where);

}  // namespace fptq::io
