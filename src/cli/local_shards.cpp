#include "cli/local_shards.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "hub/selection.h"

namespace fptq::cli {
namespace {

namespace fs = std::filesystem;

// "data/test" and 3 of "data/test-00000-of-00003.parquet"; 0 for a file that is alone.
struct ShardName {
  std::string series;
  std::size_t files = 0;
};

ShardName shard_name(const std::string& path) {
  constexpr std::string_view kOf = "-of-";
  const std::size_t of = path.rfind(kOf);
  if (of == std::string::npos) return {};
  const std::size_t dash = path.rfind('-', of - 1);
  if (of == 0 || dash == std::string::npos) return {};
  ShardName name{path.substr(0, dash), 0};
  const char* const begin = path.data() + of + kOf.size();
  std::from_chars(begin, path.data() + path.size(), name.files);
  return name;
}

// A split of which a file is missing would be measured on fewer documents.
Status check_complete(const fs::path& directory, const std::vector<hub::DataFile>& files) {
  std::map<std::string, std::size_t> found;
  for (const hub::DataFile& file : files) ++found[shard_name(file.path).series];
  for (const hub::DataFile& file : files) {
    const ShardName name = shard_name(file.path);
    if (name.files == 0 || found[name.series] == name.files) continue;
    return Error{Error::Kind::kNotFound, (directory / name.series).string() + ": expected " +
                                             std::to_string(name.files) + " files, as the name " +
                                             fs::path(file.path).filename().string() +
                                             " says, got " + std::to_string(found[name.series])};
  }
  return {};
}

}  // namespace

std::vector<std::string> parquet_paths(const fs::path& directory) {
  std::vector<std::string> paths;
  std::error_code failure;
  for (const auto& item : fs::recursive_directory_iterator(directory, failure)) {
    if (item.path().extension() != ".parquet" || !item.is_regular_file(failure)) continue;
    paths.push_back(item.path().lexically_relative(directory).generic_string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<std::vector<fs::path>> local_split(const fs::path& directory,
                                          const std::vector<std::string>& paths,
                                          const std::string& config, const std::string& split) {
  const std::vector<hub::DataFile> all = hub::parquet_files(paths);
  std::set<std::string> configs;
  for (const hub::DataFile& file : all) configs.insert(file.config);
  const bool names_none = configs.size() == 1 && !configs.contains(config);
  auto selected = hub::select_data_files(all, names_none ? "" : config, split);
  if (!selected) return with_context(selected.error(), directory.string());
  FPTQ_TRY_VOID(check_complete(directory, *selected));
  std::vector<fs::path> files;
  files.reserve(selected->size());
  for (const hub::DataFile& file : *selected) files.push_back(directory / file.path);
  return files;
}

}  // namespace fptq::cli
