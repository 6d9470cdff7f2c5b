#include "io/npy.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "support/test_data.h"

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
  std::vector<float> stored(6);
  std::memcpy(stored.data(), bytes->data() + 128, 6 * sizeof(float));
  EXPECT_EQ(values, stored);
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

std::string refusal(const std::string& file) {
  const auto parsed = parse_npy(std::as_bytes(std::span(file)), "f");
  return parsed ? "accepted" : parsed.error().message;
}

// A version 1 file with that header and 8 bytes of data.
std::string file_of(const std::string& header) {
  return std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(header.size()) + '\0' + header +
         std::string(8, '\0');
}

TEST(Npy, ReadsEachTypeAndShape) {
  const auto parse = [](const std::string& file) {
    return parse_npy(std::as_bytes(std::span(file)), "f");
  };
  const auto floats = parse(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"));
  const auto longs = parse(file_of("{'shape': (), 'descr': '<i8', 'fortran_order': False}"));
  const auto bytes = parse(file_of("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 4)}"));
  ASSERT_TRUE(floats && longs && bytes);
  EXPECT_EQ(DType::kF32, floats->dtype());
  EXPECT_EQ((Shape{2}), floats->shape());
  EXPECT_EQ(DType::kI64, longs->dtype());
  EXPECT_EQ(Shape{}, longs->shape());
  EXPECT_EQ((Shape{2, 1, 4}), bytes->shape());
}

TEST(Npy, SaysWhyAFileIsNone) {
  EXPECT_EQ("f: expected a NumPy .npy file", refusal("PK\x03\x04"));
  EXPECT_EQ("f: expected .npy version 1 to 3, got 9", refusal("\x93NUMPY\x09" + std::string(9, 0)));
  EXPECT_EQ("f: expected a header, got the end",
            refusal(std::string("\x93NUMPY\x01\0\xff\xff", 10)));
  EXPECT_EQ("f: header: expected descr, fortran_order and shape", refusal(file_of("{}")));
  const std::string big = "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_EQ("f: expected a C-order array of <f4, <f8, <i4, <i8 or |u1, got header " + big,
            refusal(file_of(big)));
  for (const std::string shape : {"(3,)", "(18446744073709551618,)", "(-2,)", "2", "(2,"}) {
    const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape;
    EXPECT_EQ("f: expected a shape of the 8 bytes of data, got header " + header,
              refusal(file_of(header)));
  }
}

TEST(NpyGolden, ReadsWhatNumPyWrote) {
  FPTQ_REQUIRE_TEST_DATA("golden/logits/stories-656k.p0.ids.npy");
  const auto directory = testing::test_data_dir() / "golden/logits";
  const auto ids = read_npy(directory / "stories-656k.p0.ids.npy");
  ASSERT_TRUE(ids) << ids.error().message;
  EXPECT_EQ(DType::kI32, ids->dtype());
  const auto all = read_npy(directory / "stories-656k.p1.all.npy");
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ((Shape{35, 2048}), all->shape());
}

}  // namespace
}  // namespace fptq::io
