// Which files of a repository are wanted.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fptq::hub {

// Whether a path from a server may be used below a directory: relative, of named parts, without
// "." and "..", backslashes and control characters.
[[nodiscard]] bool is_safe_path(std::string_view path);

// The paths that match any of the globs, in order; "*" matches slashes too.
// Errors: kNotFound, naming the first glob that matches nothing.
[[nodiscard]] Result<std::vector<std::string>> select_by_globs(
    const std::vector<std::string>& paths, const std::vector<std::string>& globs);

// What fptq reads of a model: configuration, tokenizer, chat template, and the weights once, as
// *.safetensors at the top (not "consolidated" or adapters' files, and only the single file where
// there are also shards) or, without any, as the only GGUF file.
// Errors: kNotFound without a config.json or weights; kUnsupported where they are pickled;
// kInvalidArgument for several GGUF files, with what to do.
[[nodiscard]] Result<std::vector<std::string>> select_model_files(
    const std::vector<std::string>& paths);

// A Parquet file's place in a data set, from its path: CONFIG/SPLIT-00000-of-00001.parquet,
// CONFIG/SPLIT/0000.parquet, data/SPLIT.parquet. Configuration "default" where there is none.
struct DataFile {
  std::string path;
  std::string config;
  std::string split;
};
[[nodiscard]] std::vector<DataFile> parquet_files(const std::vector<std::string>& paths);

// Those of a configuration and a split; empty: of any.
// Errors: kNotFound, listing what there is.
[[nodiscard]] Result<std::vector<DataFile>> select_data_files(const std::vector<DataFile>& files,
                                                              const std::string& config,
                                                              const std::string& split);

// "ARC-Easy: test, train; ARC-Challenge: test".
[[nodiscard]] std::string describe(const std::vector<DataFile>& files);

}  // namespace fptq::hub
