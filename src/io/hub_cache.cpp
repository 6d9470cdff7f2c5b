#include "io/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/json.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

bool is_name_part(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), allowed);
}

// A revision may hold slashes ("refs/pr/1"), but each part has to be a name.
bool is_revision(std::string_view text) {
  for (;;) {
    const std::size_t slash = text.find('/');
    if (!is_name_part(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

std::optional<std::string> environment(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

// Whether a snapshot holds the weights that its other files speak of: clients may have fetched only
// some of the files.
bool is_whole_model(const fs::path& snapshot) {
  std::error_code failure;
  const auto has = [&](const std::string& name) { return fs::exists(snapshot / name, failure); };
  const bool has_config = has("config.json");
  if (has_config && has("model.safetensors")) return true;
  if (has_config && has("model.safetensors.index.json")) {
    const auto text = read_text_file(snapshot / "model.safetensors.index.json");
    if (!text) return false;
    const auto index = parse_json(*text, "index");
    if (!index || !index->is_object() || !index->contains("weight_map")) return true;
    for (const Json& shard : (*index)["weight_map"]) {
      if (shard.is_string() && !has(shard.get<std::string>())) return false;
    }
    return true;
  }
  for (const auto& item : fs::directory_iterator(snapshot, failure)) {
    const fs::path extension = item.path().extension();
    if (extension == ".gguf" || (has_config && extension == ".safetensors")) return true;
  }
  return false;
}

HubFetcher& fetcher() {
  static HubFetcher instance;
  return instance;
}

}  // namespace

std::optional<HubName> parse_hub_name(std::string_view text) {
  constexpr std::string_view kDatasets = "datasets/";
  HubName name;
  const std::size_t at = text.find('@');
  if (at != std::string_view::npos) name.revision = text.substr(at + 1);
  std::string_view id = text.substr(0, at);
  if (id.starts_with(kDatasets) && id.find('/', kDatasets.size()) != std::string_view::npos) {
    name.dataset = true;
    id.remove_prefix(kDatasets.size());
  }
  const std::size_t slash = id.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  name.organization = id.substr(0, slash);
  name.name = id.substr(slash + 1);
  if (!is_name_part(name.organization) || !is_name_part(name.name) || !is_revision(name.revision)) {
    return std::nullopt;
  }
  return name;
}

fs::path hub_home_dir() {
  if (const auto home = environment("HF_HOME")) return *home;
  if (const auto cache = environment("XDG_CACHE_HOME")) return fs::path(*cache) / "huggingface";
  return fs::path(environment("HOME").value_or(".")) / ".cache" / "huggingface";
}

fs::path hub_cache_dir() {
  if (const auto cache = environment("HF_HUB_CACHE")) return *cache;
  if (const auto cache = environment("HUGGINGFACE_HUB_CACHE")) return *cache;
  return hub_home_dir() / "hub";
}

fs::path hub_repository_dir(const HubName& name) {
  return hub_cache_dir() /
         ((name.dataset ? "datasets--" : "models--") + name.organization + "--" + name.name);
}

std::optional<fs::path> find_snapshot(const HubName& name) {
  const fs::path repository = hub_repository_dir(name);
  std::string commit = name.revision;
  if (const auto reference = read_text_file(repository / "refs" / name.revision, 1024)) {
    commit = reference->substr(0, reference->find_first_of(" \r\n"));
  }
  const fs::path snapshot = repository / "snapshots" / commit;
  std::error_code failure;
  if (!is_name_part(commit) || !fs::is_directory(snapshot, failure)) return std::nullopt;
  return snapshot;
}

void set_hub_fetcher(HubFetcher new_fetcher) {
  fetcher() = std::move(new_fetcher);
}

Result<fs::path> resolve_model(const std::string& model) {
  std::error_code failure;
  if (fs::exists(model, failure)) return fs::path(model);
  const auto name = parse_hub_name(model);
  if (!name) {
    return Error{Error::Kind::kNotFound,
                 model + ": expected a directory, a file or a hub name org/name, got none of them"};
  }
  if (name->dataset) {
    return Error{Error::Kind::kInvalidArgument, model + ": expected a model, got a data set"};
  }
  const std::optional<fs::path> snapshot = find_snapshot(*name);
  if (snapshot && (!fetcher() || is_whole_model(*snapshot))) return *snapshot;
  if (fetcher()) {
    auto fetched = fetcher()(*name);
    if (fetched || fetched.error().kind == Error::Kind::kInterrupted) return fetched;
    return with_context(fetched.error(), "there is no path " + model);
  }
  return Error{Error::Kind::kNotFound,
               model + ": there is no such path, and the Hugging Face cache at " +
                   hub_cache_dir().string() + " does not hold revision " + name->revision +
                   " of it. Fetch it with `fptq pull " + model +
                   "`, or give the path of a local copy"};
}

}  // namespace fptq::io
