#include "hub/selection.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace fptq::hub {
namespace {

constexpr std::array<std::string_view, 13> kTextFiles = {"config.json",
                                                         "generation_config.json",
                                                         "model.safetensors.index.json",
                                                         "tokenizer.json",
                                                         "tokenizer_config.json",
                                                         "special_tokens_map.json",
                                                         "added_tokens.json",
                                                         "tokenizer.model",
                                                         "vocab.json",
                                                         "merges.txt",
                                                         "chat_template.jinja",
                                                         "chat_template.json",
                                                         "quantization_config.json"};

constexpr std::string_view kSingleFile = "model.safetensors";

bool has(const std::vector<std::string>& paths, std::string_view path) {
  return std::find(paths.begin(), paths.end(), path) != paths.end();
}

bool is_at_top(const std::string& path) {
  return path.find('/') == std::string::npos;
}

std::vector<std::string> safetensors(const std::vector<std::string>& paths) {
  if (has(paths, kSingleFile)) return {std::string(kSingleFile)};
  std::vector<std::string> shards;
  for (const std::string& path : paths) {
    if (is_at_top(path) && path.ends_with(".safetensors") && !path.starts_with("consolidated") &&
        !path.starts_with("adapter_")) {
      shards.push_back(path);
    }
  }
  return shards;
}

// The only GGUF file, or why there is not one.
Result<std::string> only_gguf(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  bool pickled = false;
  for (const std::string& path : paths) {
    if (path.ends_with(".gguf")) files.push_back(path);
    pickled = pickled || path.ends_with(".bin") || path.ends_with(".pt") || path.ends_with(".pth");
  }
  if (files.size() == 1) return files.front();
  if (files.empty() && pickled) {
    return Error{Error::Kind::kUnsupported,
                 "expected *.safetensors or a GGUF file, got pickles only, which can run code when "
                 "they are read. Convert the model first, or look for a revision with safetensors"};
  }
  if (files.empty()) {
    return Error{Error::Kind::kNotFound,
                 "expected *.safetensors or a GGUF file, got none. --include GLOB fetches other "
                 "files"};
  }
  std::string names;
  for (const std::string& file : files) names += " " + file;
  return Error{
      Error::Kind::kInvalidArgument,
      "expected one model, got the GGUF files" + names +
          ". Choose with `fptq pull NAME --include FILE`, then give the path that it prints"};
}

DataFile data_file(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       begin = slash + 1, slash = path.find('/', begin)) {
    parts.push_back(path.substr(begin, slash - begin));
  }
  std::string stem = path.substr(begin, path.size() - begin - std::string_view(".parquet").size());
  const bool numbered = !stem.empty() && stem.find_first_not_of("0123456789") == std::string::npos;
  DataFile file{path, "default", stem};
  if (numbered && !parts.empty()) {
    file.split = parts.back();
    parts.pop_back();
  } else {
    // The number behind a dash: "auxiliary_train-00000-of-00001-9f3c".
    for (std::size_t dash = stem.find('-'); dash != std::string::npos;
         dash = stem.find('-', dash + 1)) {
      if (dash + 1 < stem.size() && stem[dash + 1] >= '0' && stem[dash + 1] <= '9') {
        file.split = stem.substr(0, dash);
        break;
      }
    }
  }
  if (!parts.empty() && parts.back() != "data") file.config = parts.back();
  return file;
}

}  // namespace

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > 1024) return false;
  for (const char c : path) {
    if (c == '\\' || (c >= 0 && c < ' ') || c == 0x7f) return false;
  }
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<std::vector<std::string>> select_by_globs(const std::vector<std::string>& paths,
                                                 const std::vector<std::string>& globs) {
  std::set<std::size_t> chosen;
  for (const std::string& glob : globs) {
    bool found = false;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      if (fnmatch(glob.c_str(), paths[i].c_str(), 0) != 0) continue;
      chosen.insert(i);
      found = true;
    }
    if (!found) {
      return Error{Error::Kind::kNotFound, "--include " + glob +
                                               ": expected files that match, got none of " +
                                               std::to_string(paths.size())};
    }
  }
  std::vector<std::string> selected;
  selected.reserve(chosen.size());
  for (const std::size_t i : chosen) selected.push_back(paths[i]);
  return selected;
}

Result<std::vector<std::string>> select_model_files(const std::vector<std::string>& paths) {
  std::vector<std::string> weights = safetensors(paths);
  if (weights.empty()) {
    FPTQ_TRY(const std::string gguf, only_gguf(paths));
    return std::vector<std::string>{gguf};
  }
  if (!has(paths, "config.json")) {
    return Error{Error::Kind::kNotFound, "expected a config.json beside the weights, got none"};
  }
  std::vector<std::string> selected;
  for (const std::string_view name : kTextFiles) {
    const bool useless = name == "model.safetensors.index.json" && weights.front() == kSingleFile;
    if (!useless && has(paths, name)) selected.emplace_back(name);
  }
  selected.insert(selected.end(), weights.begin(), weights.end());
  return selected;
}

std::vector<DataFile> parquet_files(const std::vector<std::string>& paths) {
  std::vector<DataFile> files;
  for (const std::string& path : paths) {
    if (path.ends_with(".parquet")) files.push_back(data_file(path));
  }
  std::sort(files.begin(), files.end(),
            [](const DataFile& a, const DataFile& b) { return a.path < b.path; });
  return files;
}

Result<std::vector<DataFile>> select_data_files(const std::vector<DataFile>& files,
                                                const std::string& config,
                                                const std::string& split) {
  std::vector<DataFile> selected;
  for (const DataFile& file : files) {
    if ((config.empty() || file.config == config) && (split.empty() || file.split == split)) {
      selected.push_back(file);
    }
  }
  if (!selected.empty()) return selected;
  std::string wanted;
  if (!config.empty()) wanted += " --config " + config;
  if (!split.empty()) wanted += " --split " + split;
  return Error{Error::Kind::kNotFound,
               "expected Parquet files" + (wanted.empty() ? "" : " of" + wanted) + ", got " +
                   (files.empty() ? "none. --include GLOB fetches other files"
                                  : "these configurations and splits: " + describe(files))};
}

std::string describe(const std::vector<DataFile>& files) {
  std::map<std::string, std::set<std::string>> splits;
  for (const DataFile& file : files) splits[file.config].insert(file.split);
  std::string text;
  for (const auto& [config, names] : splits) {
    text += (text.empty() ? "" : "; ") + config + ":";
    for (const std::string& name : names) text += (name == *names.begin() ? " " : ", ") + name;
  }
  return text;
}

}  // namespace fptq::hub
