// Writing safetensors files tensor by tensor, sharded above a size.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::io {

// A tensor that is going to be written.
struct TensorSpec {
  std::string name;
  DType dtype;
  Shape shape;
};

struct SafetensorsWriterOptions {
  // Data bytes of one file, as Hugging Face's libraries count them: a tensor that would exceed
  // them begins the next file. A larger tensor gets a file of its own.
  std::uint64_t max_shard_bytes = 5'000'000'000;
  // What the files' `__metadata__` says. Loaders of transformers expect "format".
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};

// What has been written, once it is complete.
struct WrittenTensor {
  std::string name;
  std::string file;  // inside the directory
  std::string sha256;
  std::uint64_t bytes;
};
struct WrittenFile {
  std::string name;
  std::string sha256;
  std::uint64_t bytes;
};

// Writes `model.safetensors`, or `model-00001-of-0000N.safetensors` and
// `model.safetensors.index.json`, into a directory.
//
// All tensors are declared first, so that their places are known; then their bytes are written in
// pieces. Nothing is buffered: memory does not depend on the sizes. Within a file tensors lie in
// the order of declaration, except that those whose size is no multiple of 8 come last, widest
// element type first, so that every tensor is aligned to its element type (readers that map the
// file rely on it). The same declarations and bytes give the same files.
//
// Each file appears under its final name when its last tensor is complete.
// Thread safety: none.
class SafetensorsWriter {
 public:
  // Errors: kInvalidArgument for a name that is empty, not UTF-8, declared twice or
  // "__metadata__"; kLimit for a shape that is too large; kUnsupported for a header above the
  // format's 100 MB.
  [[nodiscard]] static Result<SafetensorsWriter> create(const std::filesystem::path& directory,
                                                        std::vector<TensorSpec> tensors,
                                                        SafetensorsWriterOptions options = {});

  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();

  // Appends the next piece of a declared tensor. Tensors may be written in any order and
  // interleaved; in the order of declaration each file's hash is made on the way.
  // Errors: kInvalidArgument for a name that was not declared and for more bytes than it has;
  // kIo, kLimit.
  [[nodiscard]] Status write(std::string_view name, std::span<const std::byte> bytes);
  // Appends a whole tensor. Errors also: kInvalidArgument where dtype or shape differ.
  [[nodiscard]] Status write(std::string_view name, const Tensor& tensor);
  // Writes the index where there are several files. Errors: kInvalidArgument names a tensor that
  // is not complete.
  [[nodiscard]] Status finish();

  // Complete tensors, in the order in which they became so.
  [[nodiscard]] std::span<const WrittenTensor> written_tensors() const;
  // Complete files; the index is among them after finish().
  [[nodiscard]] std::span<const WrittenFile> written_files() const;
  // Bytes of all tensors together.
  [[nodiscard]] std::uint64_t total_bytes() const;

 private:
  struct Impl;
  explicit SafetensorsWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::io
