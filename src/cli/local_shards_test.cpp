#include "cli/local_shards.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fptq::cli {
namespace {

using Paths = std::vector<std::string>;

std::vector<std::string> chosen(const Paths& paths, const std::string& config,
                                const std::string& split) {
  const auto files = local_split("DIR", paths, config, split);
  if (!files) return {files.error().message};
  Paths names;
  for (const auto& file : *files) names.push_back(file.string());
  return names;
}

TEST(LocalSplit, TakesAllFilesOfASplitInOrder) {
  const Paths paths = {"data/test-00001-of-00002.parquet", "data/train-00000-of-00001.parquet",
                       "data/test-00000-of-00002.parquet"};
  EXPECT_EQ(chosen(paths, "", "test"), (Paths{"DIR/data/test-00000-of-00002.parquet",
                                              "DIR/data/test-00001-of-00002.parquet"}));
  EXPECT_EQ(chosen(paths, "", "train"), Paths{"DIR/data/train-00000-of-00001.parquet"});
}

TEST(LocalSplit, NeedsAConfigurationWhereThereAreSeveral) {
  const Paths one = {"test.parquet"};
  EXPECT_EQ(chosen(one, "ARC-Easy", "test"), Paths{"DIR/test.parquet"});
  const Paths two = {"ARC-Challenge/test.parquet", "ARC-Easy/test.parquet"};
  EXPECT_EQ(chosen(two, "ARC-Easy", "test"), Paths{"DIR/ARC-Easy/test.parquet"});
  EXPECT_EQ(chosen(two, "other", "test"),
            Paths{"DIR: expected Parquet files of --config other --split test, got these "
                  "configurations and splits: ARC-Challenge: test; ARC-Easy: test"});
}

TEST(LocalSplit, SaysWhatIsMissing) {
  const Paths paths = {"data/test-00000-of-00003.parquet", "data/test-00002-of-00003.parquet"};
  EXPECT_EQ(chosen(paths, "", "test"),
            Paths{"DIR/data/test: expected 3 files, as the name test-00000-of-00003.parquet says, "
                  "got 2"});
  EXPECT_EQ(chosen(paths, "", "validation"),
            Paths{"DIR: expected Parquet files of --split validation, got these configurations "
                  "and splits: default: test"});
}

}  // namespace
}  // namespace fptq::cli
