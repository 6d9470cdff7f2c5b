#include "io/npy.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace fptq::io {
namespace {

TEST(Npy, WritesTheHeaderOfVersionOneAndTheElementsInOrder) {
  const auto path = std::filesystem::temp_directory_path() / "fptq_npy_test.npy";
  auto file = create_npy(path, {2, 3});
  ASSERT_TRUE(file);
  const std::vector<float> values = {0, 1, 2, 3, 4, -0.5F};
  ASSERT_TRUE(append_npy(*file, std::span(values).first(4)));
  ASSERT_TRUE(append_npy(*file, std::span(values).subspan(4)));
  ASSERT_TRUE(file->commit());

  const auto bytes = read_text_file(path);
  ASSERT_TRUE(bytes);
  std::filesystem::remove(path);
  ASSERT_EQ(128 + 6 * sizeof(float), bytes->size());
  EXPECT_EQ(std::string("\x93NUMPY\x01\x00\x76\x00", 10), bytes->substr(0, 10));  // 118 = 128 - 10
  EXPECT_EQ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,3,), }", bytes->substr(10, 59));
  EXPECT_EQ('\n', (*bytes)[127]);
  EXPECT_EQ(0, std::memcmp(values.data(), bytes->data() + 128, 6 * sizeof(float)));
}

TEST(Npy, StartsTheElementsAtAMultipleOf64) {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{123456789, 123456789, 12, 1234567}}) {
    const auto path = std::filesystem::temp_directory_path() / "fptq_npy_align_test.npy";
    auto file = create_npy(path, shape);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->commit());
    EXPECT_EQ(0U, std::filesystem::file_size(path) % 64) << shape_text(shape);
    std::filesystem::remove(path);
  }
}

}  // namespace
}  // namespace fptq::io
