// Where the bytes of a checkpoint are.

#pragma once

#include <cstdint>

#include "io/checkpoint.h"

namespace fptq::eval {

// Bytes on disk of the tensors of each kind, packed integers with their scales. Together they are
// Checkpoint::weight_file_bytes().
struct DiskBytes {
  std::uint64_t embedding = 0;
  std::uint64_t linears = 0;     // of the decoder's blocks
  std::uint64_t classifier = 0;  // 0 where the embedding serves as one
  std::uint64_t norms = 0;
  std::uint64_t other = 0;  // other tensors, headers, tokenizers inside of the file
};

[[nodiscard]] DiskBytes disk_bytes(const io::Checkpoint& checkpoint);

}  // namespace fptq::eval
