#include "hub/selection.h"

#include <gtest/gtest.h>

namespace fptq::hub {
namespace {

using Paths = std::vector<std::string>;

Paths selected(const Paths& paths) {
  const auto result = select_model_files(paths);
  return result ? *result : Paths{result.error().message};
}

TEST(SafePath, StaysBelowItsDirectory) {
  for (const char* path : {"a", "a/b.json", ".gitattributes", "a..b", "\xc3\xa9.txt"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const char* path : {"", "/a", "..", "../a", "a/../b", "a/.", "a//b", "a/", "a\\b", "a\nb"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_FALSE(is_safe_path(std::string("a\0b", 3)));
  EXPECT_FALSE(is_safe_path(std::string(256, 'a')));
}

TEST(SelectModelFiles, TakesTheWeightsOnce) {
  EXPECT_EQ((Paths{"config.json", "tokenizer.json", "model.safetensors"}),
            selected({"README.md", "config.json", "consolidated.safetensors", "model.safetensors",
                      "model-00001-of-00001.safetensors", "model.safetensors.index.json",
                      "onnx/model.safetensors", "pytorch_model.bin", "tokenizer.json"}));
  EXPECT_EQ((Paths{"config.json", "model.safetensors.index.json",
                   "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}),
            selected({"config.json", "model-00001-of-00002.safetensors",
                      "model-00002-of-00002.safetensors", "model.safetensors.index.json",
                      "original/consolidated.00.pth"}));
}

TEST(SelectModelFiles, TakesAnOnlyGguf) {
  EXPECT_EQ((Paths{"q8.gguf"}), selected({"README.md", "config.json", "q8.gguf"}));
  EXPECT_EQ((Paths{"expected one model, got the GGUF files a.gguf b.gguf. Choose with `fptq pull "
                   "NAME --include FILE`, then give the path that it prints"}),
            selected({"a.gguf", "b.gguf"}));
}

TEST(SelectModelFiles, SaysWhatIsMissing) {
  EXPECT_EQ((Paths{"expected a config.json beside the weights, got none"}),
            selected({"model.safetensors"}));
  EXPECT_EQ((Paths{"expected *.safetensors or a GGUF file, got none. --include GLOB fetches other "
                   "files"}),
            selected({"config.json"}));
  EXPECT_EQ((Paths{"expected *.safetensors or a GGUF file, got pickles only, which can run code "
                   "when they are read. Convert the model first, or look for a revision with "
                   "safetensors"}),
            selected({"config.json", "pytorch_model.bin"}));
}

TEST(SelectByGlobs, KeepsTheOrderAndMatchesSlashes) {
  const Paths paths = {"a.json", "b.txt", "sub/c.json"};
  const auto result = select_by_globs(paths, {"*b*", "*.json"});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(paths, *result);
  const auto none = select_by_globs(paths, {"*.json", "*.gguf"});
  ASSERT_FALSE(none);
  EXPECT_EQ("--include *.gguf: expected files that match, got none of 3", none.error().message);
}

TEST(ParquetFiles, KnowConfigurationAndSplitByTheirPath) {
  const struct {
    const char* path;
    const char* config;
    const char* split;
  } cases[] = {
      {"ARC-Easy/test-00000-of-00001.parquet", "ARC-Easy", "test"},
      {"abstract_algebra/auxiliary_train-00000-of-00001-9f3c.parquet", "abstract_algebra",
       "auxiliary_train"},
      {"data/validation-00000-of-00001.parquet", "default", "validation"},
      {"plain_text/test/0000.parquet", "plain_text", "test"},
      {"test.parquet", "default", "test"},
      {"0000.parquet", "default", "0000"},
  };
  for (const auto& expected : cases) {
    const std::vector<DataFile> files = parquet_files({"README.md", expected.path});
    ASSERT_EQ(1U, files.size());
    EXPECT_EQ(expected.path, files[0].path);
    EXPECT_EQ(expected.config, files[0].config);
    EXPECT_EQ(expected.split, files[0].split);
  }
}

TEST(SelectDataFiles, SaysWhatThereIs) {
  const std::vector<DataFile> files = parquet_files(
      {"b/train-0.parquet", "a/test-1.parquet", "a/test-0.parquet", "a/dev-0.parquet"});
  const auto tests = select_data_files(files, "a", "test");
  ASSERT_TRUE(tests) << tests.error().message;
  ASSERT_EQ(2U, tests->size());
  EXPECT_EQ("a/test-0.parquet", (*tests)[0].path);
  EXPECT_EQ("a/test-1.parquet", (*tests)[1].path);
  const auto none = select_data_files(files, "b", "test");
  ASSERT_FALSE(none);
  EXPECT_EQ(
      "expected Parquet files of --config b --split test, got these configurations and "
      "splits: a: dev, test; b: train",
      none.error().message);
  const auto empty = select_data_files({}, "", "");
  ASSERT_FALSE(empty);
  EXPECT_EQ("expected Parquet files, got none. --include GLOB fetches other files",
            empty.error().message);
}

}  // namespace
}  // namespace fptq::hub
