// The files beside the weights of an output directory.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"

namespace fptq::quantize {

// Why `output` must not be written to: it is the source or contains it, and replacing it would
// delete the source. Errors: kInvalidArgument.
[[nodiscard]] Status check_output_path(const std::filesystem::path& output,
                                       const io::Checkpoint& checkpoint);

// Puts the tokenizer's files, generation settings, chat template and licence into `directory`:
// copies of the source's bytes where it is a directory, else made from the metadata inside.
// Returns the names, sorted. A checkpoint without tokenizer gives a warning, not an error.
[[nodiscard]] Result<std::vector<std::string>> copy_side_files(
    const io::Checkpoint& checkpoint, const std::filesystem::path& directory,
    std::vector<std::string>& warnings);

}  // namespace fptq::quantize
