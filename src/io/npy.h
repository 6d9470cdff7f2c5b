// Arrays as NumPy reads them.

#pragma once

#include <filesystem>
#include <span>

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

}  // namespace fptq::io
