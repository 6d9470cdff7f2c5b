// Pickles, which are recognized and not read.

#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace fptq::io {

// Whether a file that begins like this is a zip archive or a pickle of protocol 2 or later, as
// torch.save() writes them.
[[nodiscard]] bool is_pickle(std::span<const std::byte> begin);

// Why such a file is not read: kUnsupported.
[[nodiscard]] Error pickle_error(const std::filesystem::path& path);

}  // namespace fptq::io
