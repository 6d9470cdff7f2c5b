// Data sets of Parquet files in a directory, laid out as the hub lays them out.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace fptq::cli {

// The *.parquet files anywhere below a directory, relative to it, by name.
[[nodiscard]] std::vector<std::string> parquet_paths(const std::filesystem::path& directory);

// Which of `paths` (parquet_paths() of `directory`) are a split's, in order:
// test-00000-of-00003.parquet and its like, data/test.parquet, CONFIG/test/0000.parquet. config:
// the configuration, which a directory with one configuration need not name; empty: any. Errors:
// kNotFound where there is no such split, listing what there is, and where a file of several is
// missing.
[[nodiscard]] Result<std::vector<std::filesystem::path>> local_split(
    const std::filesystem::path& directory, const std::vector<std::string>& paths,
    const std::string& config, const std::string& split);

}  // namespace fptq::cli
