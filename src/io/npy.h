// Arrays as NumPy reads them.

#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/file.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::io {

// A .npy file of little-endian float32, C order: its header is written, the elements are to be
// appended with append_npy() and the whole to be committed.
// Errors: those of OutputFile::create() and write().
// Source: numpy.lib.format, version 1.0.
[[nodiscard]] Result<OutputFile> create_npy(const std::filesystem::path& path, const Shape& shape);

// Appends elements in C order.
[[nodiscard]] Status append_npy(OutputFile& file, std::span<const float> values);

// Reads a C-order array of <f4, <f8, <i4, <i8 or |u1 (format versions 1 to 3).
// Errors: kNotFound, kIo; kFormat; kUnsupported names another type or order.
[[nodiscard]] Result<Tensor> read_npy(const std::filesystem::path& path);
// The same of a file's bytes. `where` begins every message.
[[nodiscard]] Result<Tensor> parse_npy(std::span<const std::byte> file, const std::string& where);

}  // namespace fptq::io
