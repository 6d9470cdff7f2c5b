// Reading one GGUF file: metadata of typed keys, then tensors in ggml's types.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "io/ggml_types.h"
#include "tensor/tensor.h"

namespace fptq::io {

// The type of a metadata value, by its number in the file.
enum class GgufType : std::uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// "uint32".
[[nodiscard]] std::string_view gguf_type_name(GgufType type);

// A list of values of one type. Numbers stay as the file has them, little-endian.
struct GgufArray {
  GgufType type;
  std::size_t count;
  std::span<const std::byte> numbers;     // of `count` numbers; empty for strings
  std::vector<std::string_view> strings;  // of `count` strings; empty for numbers

  // Number `index`, which has to be an integer (float) type and below count.
  [[nodiscard]] std::int64_t integer(std::size_t index) const;
  [[nodiscard]] double real(std::size_t index) const;
};

// Integers are widened; float32 is exact in a double. Views point into the file.
struct GgufValue {
  GgufType type;
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray> value;
};

// A tensor of the file: bytes [begin, begin + size_bytes) of it.
struct GgufTensor {
  std::string name;  // llama.cpp's: "blk.0.attn_q.weight"
  GgmlType type;
  Shape shape;  // row-major, slowest axis first: the reverse of the file's order
  std::size_t begin;
  std::size_t size_bytes;
};

// A parsed file. The bytes that it was parsed from have to outlive it.
struct GgufFile {
  std::uint32_t version;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  // in the file's order

  // The value of that key, or null.
  [[nodiscard]] const GgufValue* find(std::string_view key) const;
};

// Whether the bytes begin with "GGUF".
[[nodiscard]] bool has_gguf_magic(std::span<const std::byte> file);

// Checks and reads a whole GGUF file of version 2 or 3, little-endian. `where` begins every
// message, which also names the byte offset, the key or the tensor.
//
// The rules, each with an error of its own: counts, strings (at most 1 GiB) and arrays (at most
// 2^30 elements, not nested) lie inside the file; keys (at most 65535 bytes) and names (at most 63)
// are there once; general.alignment is a power of two; tensors have 1 to 4 axes >= 1 whose product
// fits 63 bits, whole blocks per row, an aligned offset, and bytes inside the file that belong to
// no other tensor.
//
// Errors: kFormat; kUnsupported for version 1, big-endian files and tensor types that fptq cannot
// dequantize, by name.
// Source: ggml's docs/gguf.md, and the checks of its reader.
[[nodiscard]] Result<GgufFile> parse_gguf(std::span<const std::byte> file,
                                          const std::string& where);

}  // namespace fptq::io
