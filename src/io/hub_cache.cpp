#include "io/hub_cache.h"

#include <algorithm>
#include <cstdlib>

#include "base/file.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

struct HubName {
  std::string organization;
  std::string name;
  std::string revision;
};

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

std::optional<HubName> parse_hub_name(std::string_view text) {
  const std::size_t at = text.find('@');
  const std::string_view repository = text.substr(0, at);
  const std::size_t slash = repository.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  HubName name{std::string(repository.substr(0, slash)), std::string(repository.substr(slash + 1)),
               at == std::string_view::npos ? "main" : std::string(text.substr(at + 1))};
  if (!is_name_part(name.organization) || !is_name_part(name.name) || !is_revision(name.revision)) {
    return std::nullopt;
  }
  return name;
}

std::optional<std::string> environment(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace

bool is_hub_name(std::string_view name) {
  return parse_hub_name(name).has_value();
}

fs::path hub_cache_dir() {
  if (const auto cache = environment("HF_HUB_CACHE")) return *cache;
  if (const auto cache = environment("HUGGINGFACE_HUB_CACHE")) return *cache;
  if (const auto home = environment("HF_HOME")) return fs::path(*home) / "hub";
  if (const auto cache = environment("XDG_CACHE_HOME")) {
    return fs::path(*cache) / "huggingface" / "hub";
  }
  return fs::path(environment("HOME").value_or(".")) / ".cache" / "huggingface" / "hub";
}

Result<fs::path> resolve_model(const std::string& model) {
  std::error_code failure;
  if (fs::exists(model, failure)) return fs::path(model);
  const auto name = parse_hub_name(model);
  if (!name) {
    return Error{Error::Kind::kNotFound,
                 model + ": expected a directory, a file or a hub name org/name, got none of them"};
  }
  const fs::path repository =
      hub_cache_dir() / ("models--" + name->organization + "--" + name->name);
  std::string commit = name->revision;
  if (const auto reference = read_text_file(repository / "refs" / name->revision, 1024)) {
    commit = reference->substr(0, reference->find_first_of(" \r\n"));
  }
  const fs::path snapshot = repository / "snapshots" / commit;
  if (is_name_part(commit) && fs::is_directory(snapshot, failure)) return snapshot;
  return Error{Error::Kind::kNotFound,
               model + ": there is no such path, and the Hugging Face cache at " +
                   hub_cache_dir().string() + " does not hold revision " + name->revision +
                   " of it. Fetch it with `hf download " + name->organization + "/" + name->name +
                   "`, or give the path of a local copy"};
}

}  // namespace fptq::io
