#include "io/npy.h"

#include <bit>
#include <cstddef>
#include <string>

namespace fptq::io {

// `values` are written as they lie in memory.
static_assert(std::endian::native == std::endian::little);

Result<OutputFile> create_npy(const std::filesystem::path& path, const Shape& shape) {
  std::string axes;
  for (const std::size_t axis : shape) axes += std::to_string(axis) + ",";  // (3,) is a tuple too
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + axes + "), }";
  // 10 bytes come before the header; the data begins at a multiple of 64.
  constexpr std::size_t kPreambleBytes = 10;
  header.append(63 - (kPreambleBytes + header.size()) % 64, ' ');
  header += '\n';

  std::string preamble = "\x93NUMPY";
  preamble += '\x01';
  preamble += '\x00';
  preamble += static_cast<char>(header.size() & 0xff);
  preamble += static_cast<char>(header.size() >> 8);

  FPTQ_TRY(OutputFile file, OutputFile::create(path));
  FPTQ_TRY_VOID(file.write(preamble + header));
  return file;
}

Status append_npy(OutputFile& file, std::span<const float> values) {
  return file.write(std::as_bytes(values));
}

}  // namespace fptq::io
