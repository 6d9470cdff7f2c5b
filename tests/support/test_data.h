// Where tests find real models and other people's reference outputs, if they are there at all.

#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace fptq::testing {

// The directory with test data: FPTQ_TEST_DATA, else `shared` beside the repository.
inline std::filesystem::path test_data_dir() {
  const char* configured = std::getenv("FPTQ_TEST_DATA");
  return configured != nullptr ? std::filesystem::path(configured)
                               : std::filesystem::path(FPTQ_SOURCE_DIR).parent_path() / "shared";
}

}  // namespace fptq::testing

// Skips the current test, with the reason, where test_data_dir()/relative does not exist.
#define FPTQ_REQUIRE_TEST_DATA(relative)                                       \
  if (!std::filesystem::exists(::fptq::testing::test_data_dir() / (relative))) \
  GTEST_SKIP() << "no test data at " << (::fptq::testing::test_data_dir() / (relative)).string()
