// Reading one safetensors file: a JSON header that says where each tensor lies, then the bytes.

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

#include "base/file.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::io {

// The format's own limit on the length of its header.
inline constexpr std::uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// One tensor of a file: dtype, shape, and its bytes [begin, end) counted from the file's start.
struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  std::size_t begin;
  std::size_t end;
};

// A header that keeps every rule of the format.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // sorted by name
  std::map<std::string, std::string> metadata;

  // The entry with that name, or null.
  [[nodiscard]] const SafetensorsEntry* find(std::string_view name) const;
};

// Checks and reads the header of `file`, a whole safetensors file. `where` begins every message.
//
// The rules, each with an error of its own: 8 bytes of header length, at most 100,000,000 and
// inside the file; a header that begins with '{', is UTF-8 and strict JSON without duplicate keys
// (spaces may follow it); `__metadata__` maps strings to strings; every other value has a known
// dtype, a shape of integers >= 0 and two data_offsets; shape times dtype, without overflow, is
// the span of the offsets; spans neither overlap nor leave holes and cover the file to its end.
//
// Errors: kFormat; kUnsupported names a dtype that safetensors knows and fptq does not.
// Source: huggingface/safetensors, the format's description and its reference reader.
[[nodiscard]] Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file,
                                                          const std::string& where);

// A memory-mapped safetensors file. Thread safety: const members may run concurrently.
class SafetensorsFile {
 public:
  // Errors: kNotFound, kIo, and those of parse_safetensors().
  [[nodiscard]] static Result<SafetensorsFile> open(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return file_->path(); }
  [[nodiscard]] const SafetensorsHeader& header() const { return header_; }
  [[nodiscard]] std::uint64_t file_bytes() const { return file_->bytes().size(); }
  // A view of the tensor that keeps the file mapped. entry: one of header().entries.
  [[nodiscard]] Tensor read(const SafetensorsEntry& entry) const;
  // Errors: kNotFound.
  [[nodiscard]] Result<Tensor> read(std::string_view name) const;
  // Tells the system that the tensor's bytes are not needed soon.
  void release(const SafetensorsEntry& entry) const;

 private:
  SafetensorsFile() = default;

  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
};

}  // namespace fptq::io
