// Models and data sets named as on the Hugging Face Hub, found in the cache that its own clients
// fill.

#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq::io {

// `org/name[@revision]`, a model, or `datasets/org/name[@revision]`.
struct HubName {
  bool dataset = false;
  std::string organization;
  std::string name;
  std::string revision = "main";  // a branch, a tag or a commit; may hold slashes

  // "org/name".
  [[nodiscard]] std::string id() const { return organization + "/" + name; }
};

// Nothing where `text` does not read as a name on a hub.
[[nodiscard]] std::optional<HubName> parse_hub_name(std::string_view text);

// The cache's directory: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else
// XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
[[nodiscard]] std::filesystem::path hub_cache_dir();

// HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface.
[[nodiscard]] std::filesystem::path hub_home_dir();

// Where the cache keeps everything of a model or data set:
// models--org--name or datasets--org--name, with blobs, refs and snapshots in it.
[[nodiscard]] std::filesystem::path hub_repository_dir(const HubName& name);

// The directory of that revision's files in the cache, if it is there.
[[nodiscard]] std::optional<std::filesystem::path> find_snapshot(const HubName& name);

// Gives a snapshot that holds a model completely, from wherever it gets it.
using HubFetcher = std::function<Result<std::filesystem::path>(const HubName&)>;

// What resolve_model() asks for models that the cache does not hold, or holds in part. Called once
// by a program that can download, before it opens anything; without it nothing is downloaded.
void set_hub_fetcher(HubFetcher fetcher);

// What MODEL means: the path itself where it exists, else the snapshot of that hub name in the
// cache, else what the fetcher gives.
//
// Errors: kNotFound where it is neither, with what to do; the fetcher's.
[[nodiscard]] Result<std::filesystem::path> resolve_model(const std::string& model);

}  // namespace fptq::io
