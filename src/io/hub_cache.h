// Models named as on the Hugging Face Hub, found in the cache that its own clients fill.

#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq::io {

// Whether `name` reads as `org/name` or `org/name@revision`.
[[nodiscard]] bool is_hub_name(std::string_view name);

// The cache's directory: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else
// XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
[[nodiscard]] std::filesystem::path hub_cache_dir();

// What MODEL means: the path itself where it exists, else the snapshot of that hub name in the
// cache (revision: a branch, a tag or a commit; default main).
//
// Errors: kNotFound where it is neither, with what to do. Nothing is downloaded.
[[nodiscard]] Result<std::filesystem::path> resolve_model(const std::string& model);

}  // namespace fptq::io
