// Checkpoints of llama2.c.

#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "io/checkpoint.h"

namespace fptq::io {

// Opens a llama2.c .bin; its vocabulary is looked for beside it as tokenizer.bin, then as the only
// tok*.bin. Query and key rows are handed out in Hugging Face's order.
//
//   name  what the user called it, for path()
//
// Errors: kNotFound, kIo, and those of parse_llama2c().
[[nodiscard]] Result<std::unique_ptr<Checkpoint>> open_llama2c_checkpoint(
    const std::filesystem::path& file, const std::filesystem::path& name);

}  // namespace fptq::io
