#include "quantize/output_files.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/file.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 10> kSideFiles = {"added_tokens.json",
                                                         "chat_template.jinja",
                                                         "chat_template.json",
                                                         "generation_config.json",
                                                         "merges.txt",
                                                         "special_tokens_map.json",
                                                         "tokenizer.json",
                                                         "tokenizer.model",
                                                         "tokenizer_config.json",
                                                         "vocab.json"};

// Licences oblige whoever passes a model on.
constexpr std::array<std::string_view, 4> kSidePrefixes = {"LICENSE", "LICENCE", "NOTICE",
                                                           "USE_POLICY"};

bool is_side_file(std::string_view name) {
  const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
  return std::find(kSideFiles.begin(), kSideFiles.end(), name) != kSideFiles.end() ||
         std::any_of(kSidePrefixes.begin(), kSidePrefixes.end(), begins);
}

Result<std::vector<std::string>> copy_from_directory(const fs::path& source,
                                                     const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::directory_iterator entry(source, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    std::error_code not_a_file;
    if (is_side_file(name) && entry->is_regular_file(not_a_file)) names.push_back(name);
  }
  if (failure) {
    return Error{Error::Kind::kIo, source.string() + ": cannot list: " + failure.message()};
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    FPTQ_TRY(const std::string text, read_text_file(source / name));
    FPTQ_TRY_VOID(write_text_file(directory / name, text));
  }
  return names;
}

}  // namespace

Status check_output_path(const fs::path& output, const io::Checkpoint& checkpoint) {
  std::error_code failure;
  const fs::path target = fs::weakly_canonical(output, failure);
  if (failure) return {};
  const fs::path source = fs::weakly_canonical(checkpoint.path(), failure);
  if (failure) return {};
  const auto [end, unused] =
      std::mismatch(target.begin(), target.end(), source.begin(), source.end());
  if (end != target.end()) return {};
  return Error{Error::Kind::kInvalidArgument, output.string() + ": holds the source " +
                                                  checkpoint.path().string() +
                                                  ", which would be lost. Give another output"};
}

Result<std::vector<std::string>> copy_side_files(const io::Checkpoint& checkpoint,
                                                 const fs::path& directory,
                                                 std::vector<std::string>& warnings) {
  std::error_code failure;
  if (fs::is_directory(checkpoint.path(), failure)) {
    FPTQ_TRY(auto names, copy_from_directory(checkpoint.path(), directory));
    if (std::find(names.begin(), names.end(), "tokenizer.json") == names.end()) {
      warnings.push_back(checkpoint.path().string() + ": there is no tokenizer.json to copy");
    }
    return names;
  }
  const auto files = checkpoint.tokenizer();
  if (!files) {
    if (files.error().kind != Error::Kind::kNotFound) return files.error();
    warnings.push_back(files.error().message);
    return std::vector<std::string>{};
  }
  std::vector<std::string> names = {"tokenizer.json"};
  FPTQ_TRY_VOID(write_text_file(directory / "tokenizer.json", files->tokenizer_json));
  for (const auto& [name, text] : files->others) {
    FPTQ_TRY_VOID(write_text_file(directory / name, text));
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace fptq::quantize
