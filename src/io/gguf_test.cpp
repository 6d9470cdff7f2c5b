#include "io/gguf.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "support/gguf_builder.h"

namespace fptq::io {
namespace {

using testing::append_gguf_string;
using testing::append_number;
using testing::GgufBuilder;

std::span<const std::byte> bytes_of(const std::string& file) {
  return std::as_bytes(std::span(file));
}

// The message with which a file is refused.
std::string refusal(const std::string& file, Error::Kind kind = Error::Kind::kFormat) {
  const auto parsed = parse_gguf(bytes_of(file), "f");
  if (parsed) return "accepted";
  EXPECT_EQ(kind, parsed.error().kind);
  return parsed.error().message;
}

// The same without "f: byte N: ".
std::string refusal_after_offset(const std::string& file) {
  const std::string message = refusal(file);
  EXPECT_EQ(0U, message.find("f: byte ")) << message;
  const std::size_t end = message.find(": ", 8);
  return end == std::string::npos ? message : message.substr(end + 2);
}

template <typename T>
T value_of(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.find(key);
  EXPECT_NE(nullptr, value) << key;
  return value == nullptr ? T() : std::get<T>(value->value);
}

TEST(Gguf, ReadsEveryTypeOfMetadata) {
  for (const std::uint32_t version : {2U, 3U}) {
    const std::string bytes = GgufBuilder()
                                  .number<std::uint8_t>("u8", 0, 200)
                                  .number<std::int8_t>("i8", 1, -5)
                                  .number<std::uint16_t>("u16", 2, 60000)
                                  .number<std::int16_t>("i16", 3, -300)
                                  .u32("u32", 4'000'000'000)
                                  .number<std::int32_t>("i32", 5, 7)
                                  .f32("f32", 0.5f)
                                  .boolean("bool", true)
                                  .text("text", "llama")
                                  .texts("texts", {"a", "", "bc"})
                                  .numbers<std::int16_t>("list", 3, {1, -2})
                                  .numbers<float>("reals", 6, {0.25f})
                                  .number<std::uint64_t>("u64", 10, ~std::uint64_t{0})
                                  .number<std::int64_t>("i64", 11, -1)
                                  .number<double>("f64", 12, 0.1)
                                  .build(version);
    const auto file = parse_gguf(bytes_of(bytes), "f");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(version, file->version);
    EXPECT_EQ(200U, value_of<std::uint64_t>(*file, "u8"));
    EXPECT_EQ(-5, value_of<std::int64_t>(*file, "i8"));
    EXPECT_EQ(60000U, value_of<std::uint64_t>(*file, "u16"));
    EXPECT_EQ(-300, value_of<std::int64_t>(*file, "i16"));
    EXPECT_EQ(4'000'000'000U, value_of<std::uint64_t>(*file, "u32"));
    EXPECT_EQ(7U, value_of<std::uint64_t>(*file, "i32"));
    EXPECT_EQ(0.5, value_of<double>(*file, "f32"));
    EXPECT_TRUE(value_of<bool>(*file, "bool"));
    EXPECT_EQ("llama", value_of<std::string_view>(*file, "text"));
    EXPECT_EQ((std::vector<std::string_view>{"a", "", "bc"}),
              value_of<GgufArray>(*file, "texts").strings);
    EXPECT_EQ(-2, value_of<GgufArray>(*file, "list").integer(1));
    EXPECT_EQ(0.25, value_of<GgufArray>(*file, "reals").real(0));
    EXPECT_EQ(~std::uint64_t{0}, value_of<std::uint64_t>(*file, "u64"));
    EXPECT_EQ(-1, value_of<std::int64_t>(*file, "i64"));
    EXPECT_EQ(0.1, value_of<double>(*file, "f64"));
    EXPECT_EQ(nullptr, file->find("none"));
  }
}

TEST(Gguf, PlacesTensorsAtTheFilesAlignment) {
  for (const std::size_t alignment : {1U, 8U, 64U}) {
    const std::string bytes = GgufBuilder()
                                  .alignment(alignment)
                                  .tensor("a", {3, 2}, 0, std::string(24, 'a'))
                                  .tensor("b", {64}, 8, std::string(68, 'b'))
                                  .build();
    const auto file = parse_gguf(bytes_of(bytes), "f");
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(2U, file->tensors.size());
    EXPECT_EQ((Shape{2, 3}), file->tensors[0].shape);
    EXPECT_EQ(24U, file->tensors[0].size_bytes);
    EXPECT_EQ(GgmlType::kQ80, file->tensors[1].type);
    for (const GgufTensor& tensor : file->tensors) {
      EXPECT_EQ(std::string(tensor.size_bytes, tensor.name[0]),
                bytes.substr(tensor.begin, tensor.size_bytes));
    }
  }
}

TEST(Gguf, RefusesAnythingElse) {
  EXPECT_EQ("f: expected a file that begins with \"GGUF\"", refusal("GGML\3\0\0\0"));
  EXPECT_EQ("magic number: expected 4 bytes, got the last 0 of the file. Is the file truncated?",
            refusal_after_offset(""));
}

TEST(Gguf, RefusesOtherVersionsAndByteOrders) {
  EXPECT_EQ("f: expected GGUF version 2 or 3, got version 1",
            refusal(GgufBuilder().build(1), Error::Kind::kUnsupported));
  EXPECT_EQ("f: expected GGUF version 2 or 3, got version 4",
            refusal(GgufBuilder().build(4), Error::Kind::kUnsupported));
  EXPECT_EQ("f: a big-endian GGUF file is not supported. Convert it to little-endian",
            refusal(GgufBuilder().build(0x03000000), Error::Kind::kUnsupported));
}

TEST(Gguf, RefusesAFileThatEndsAnywhereTooEarly) {
  const std::string bytes = GgufBuilder()
                                .u32("n", 1)
                                .texts("t", {"a", "b"})
                                .tensor("w", {4}, 0, std::string(16, 'w'))
                                .build();
  ASSERT_EQ("accepted", refusal(bytes));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const std::string message = refusal(bytes.substr(0, length));
    EXPECT_NE(std::string::npos, message.find("of the file")) << length << ": " << message;
  }
}

TEST(Gguf, RefusesCountsThatAreNotTrue) {
  std::string bytes = GgufBuilder().build();
  bytes.replace(16, 8, std::string(8, '\x7f'));  // the number of keys
  bytes.resize(32);
  EXPECT_EQ(
      "metadata key 0, length: expected 8 bytes, got the last 0 of the file. Is the file "
      "truncated?",
      refusal_after_offset(bytes.substr(0, 24)));
  bytes = GgufBuilder().build();
  bytes.replace(8, 8, std::string(8, '\x7f'));  // the number of tensors
  EXPECT_EQ(
      "name of tensor 0, length: expected 8 bytes, got the last 0 of the file. Is the file "
      "truncated?",
      refusal_after_offset(bytes.substr(0, 24)));
}

TEST(Gguf, RefusesStringsAndKeysAboveTheLimits) {
  std::string huge;
  append_number<std::uint64_t>(huge, (1ULL << 30) + 1);
  EXPECT_EQ("metadata key \"k\": expected at most 1073741824 bytes, got 1073741825",
            refusal_after_offset(GgufBuilder().raw("k", 8, huge).build()));
  EXPECT_EQ("metadata key 0: expected at most 65535 bytes, got 65536",
            refusal_after_offset(GgufBuilder().u32(std::string(65536, 'k'), 1).build()));
  EXPECT_EQ("name of tensor 0: expected at most 63 bytes, got 64",
            refusal_after_offset(GgufBuilder().info(std::string(64, 'n'), {1}, 0, 0).build()));
  huge.clear();
  append_number(huge, ~std::uint64_t{0});
  EXPECT_EQ("metadata key \"k\": expected at most 1073741824 bytes, got 18446744073709551615",
            refusal_after_offset(GgufBuilder().raw("k", 8, huge).build()));
}

TEST(Gguf, RefusesArraysThatCannotBe) {
  const auto array = [](std::uint32_t type, std::uint64_t count) {
    std::string bytes;
    append_number(bytes, type);
    append_number(bytes, count);
    return GgufBuilder().raw("k", 9, bytes).build();
  };
  EXPECT_EQ("metadata key \"k\": expected an array of values, got an array of arrays",
            refusal_after_offset(array(9, 1)));
  EXPECT_EQ("metadata key \"k\": expected a type below 13, got 13",
            refusal_after_offset(array(13, 1)));
  EXPECT_EQ("metadata key \"k\": expected at most 1073741824 elements, got 1073741825",
            refusal_after_offset(array(0, (1ULL << 30) + 1)));
  EXPECT_EQ(0U, refusal_after_offset(array(12, 1ULL << 30))
                    .find("metadata key \"k\": expected 8589934592 bytes, got the last "));
  EXPECT_EQ(0U, refusal_after_offset(array(8, 1ULL << 30))
                    .find("metadata key \"k\": expected 1073741824 strings, got the last "));
}

TEST(Gguf, RefusesUnknownTypesAndBadBools) {
  EXPECT_EQ("metadata key \"k\": expected a type below 13, got 99",
            refusal_after_offset(GgufBuilder().raw("k", 99, "").build()));
  EXPECT_EQ("metadata key \"k\": expected a bool 0 or 1, got 2",
            refusal_after_offset(GgufBuilder().raw("k", 7, "\x02").build()));
}

TEST(Gguf, RefusesDuplicates) {
  EXPECT_EQ("metadata key \"k\": expected it once, got it twice",
            refusal_after_offset(GgufBuilder().u32("k", 1).u32("k", 1).build()));
  EXPECT_EQ("tensor \"a\": expected it once, got it twice",
            refusal_after_offset(
                GgufBuilder().tensor("a", {1}, 0, "1234").tensor("a", {1}, 0, "1234").build()));
}

TEST(Gguf, RefusesAnAlignmentThatIsNoPowerOfTwo) {
  EXPECT_EQ("f: general.alignment: expected a power of two below 2^32, got 0",
            refusal(GgufBuilder().u32("general.alignment", 0).build()));
  EXPECT_EQ("f: general.alignment: expected a power of two below 2^32, got 48",
            refusal(GgufBuilder().u32("general.alignment", 48).build()));
  EXPECT_EQ("f: general.alignment: expected a power of two below 2^32, got string",
            refusal(GgufBuilder().text("general.alignment", "32").build()));
  EXPECT_EQ(
      "f: general.alignment: expected a power of two below 2^32, got 9223372036854775808",
      refusal(GgufBuilder().number<std::uint64_t>("general.alignment", 10, 1ULL << 63).build()));
}

TEST(Gguf, RefusesShapesThatCannotBe) {
  EXPECT_EQ("tensor \"a\": expected 1 to 4 axes, got 0",
            refusal_after_offset(GgufBuilder().info("a", {}, 0, 0).build()));
  EXPECT_EQ("tensor \"a\": expected 1 to 4 axes, got 5",
            refusal_after_offset(GgufBuilder().info("a", {1, 1, 1, 1, 1}, 0, 0).build()));
  EXPECT_EQ("tensor \"a\": expected axes of at least 1, got 0",
            refusal_after_offset(GgufBuilder().info("a", {4, 0}, 0, 0).build()));
  const std::string large =
      "tensor \"a\": expected a number of elements below 2^63, got a larger shape";
  EXPECT_EQ(large,
            refusal_after_offset(GgufBuilder().info("a", {1ULL << 32, 1ULL << 32}, 0, 0).build()));
  EXPECT_EQ(large, refusal_after_offset(GgufBuilder().info("a", {1ULL << 63}, 0, 0).build()));
  EXPECT_EQ("tensor \"a\": expected a size that fits 64 bits, got shape [4611686018427387904]",
            refusal_after_offset(GgufBuilder().info("a", {1ULL << 62}, 0, 0).build()));
  EXPECT_EQ("tensor \"a\": expected rows of whole Q4_K blocks of 256, got 128 columns",
            refusal_after_offset(GgufBuilder().info("a", {128, 2}, 12, 0).build()));
}

TEST(Gguf, NamesATypeThatItDoesNotRead) {
  EXPECT_EQ(
      "f: tensor \"a\": type IQ2_XXS is not supported. Use a file of F16, Q8_0 or Q4_K, for "
      "example",
      refusal(GgufBuilder().info("a", {256}, 16, 0).build(), Error::Kind::kUnsupported));
  EXPECT_EQ("tensor \"a\": expected a ggml type, got 999",
            refusal_after_offset(GgufBuilder().info("a", {256}, 999, 0).build()));
  EXPECT_EQ("tensor \"a\": expected a ggml type, got 4",
            refusal_after_offset(GgufBuilder().info("a", {256}, 4, 0).build()))
      << "4 was Q4_2, which ggml has removed";
}

TEST(Gguf, RefusesTensorsOutsideTheFileOrOverEachOther) {
  EXPECT_EQ("f: tensor \"a\": expected an offset that is a multiple of 32, got 8",
            refusal(GgufBuilder().info("a", {1}, 0, 8).build() + std::string(64, 0)));
  EXPECT_EQ(
      "f: tensor \"a\": expected 16 bytes at offset 0 of the 15 bytes of data, got the end of the "
      "file. Is the file truncated?",
      refusal(GgufBuilder().info("a", {4}, 0, 0).build() + std::string(15, 0)));
  EXPECT_EQ(
      "f: tensor \"a\": expected 16 bytes at offset 18446744073709551584 of the 64 bytes of data, "
      "got the end of the file. Is the file truncated?",
      refusal(GgufBuilder().info("a", {4}, 0, ~std::uint64_t{31}).build() + std::string(64, 0)));
  EXPECT_EQ("f: tensor \"b\": expected bytes of its own, got an overlap with tensor \"a\"",
            refusal(GgufBuilder().info("b", {4}, 0, 32).info("a", {9}, 0, 0).build() +
                    std::string(64, 0)));
}

}  // namespace
}  // namespace fptq::io
