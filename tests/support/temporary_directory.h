// A directory of its own for a test that writes files.

#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace fptq::testing {

// An empty directory that is removed after the test. Derive a fixture from it, or name it in
// TEST_F through an alias.
class TemporaryDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "fptq_test.XXXXXX").string();
    ASSERT_NE(nullptr, mkdtemp(name.data()));
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::filesystem::path root_;
};

}  // namespace fptq::testing
