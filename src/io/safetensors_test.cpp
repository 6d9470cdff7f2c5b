#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/temporary_directory.h"
#include "support/test_data.h"

namespace fptq::io {
namespace {

using SafetensorsFileTest = testing::TemporaryDirectoryTest;

// A file with this header, of the length that it has or is said to have, and zeros for data.
std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes,
                               std::uint64_t length) {
  std::vector<std::byte> file(8 + header.size() + data_bytes);
  std::memcpy(file.data(), &length, 8);
  std::memcpy(file.data() + 8, header.data(), header.size());
  return file;
}

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes) {
  return file_of(header, data_bytes, header.size());
}

// The message with which a file is refused.
std::string refusal(const std::vector<std::byte>& file, Error::Kind kind = Error::Kind::kFormat) {
  const auto parsed = parse_safetensors(file, "f");
  if (parsed) return "accepted";
  EXPECT_EQ(kind, parsed.error().kind);
  return parsed.error().message;
}

std::string refusal(const std::string& header, std::size_t data_bytes,
                    Error::Kind kind = Error::Kind::kFormat) {
  return refusal(file_of(header, data_bytes), kind);
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(Safetensors, ReadsEntriesSortedByNameWithTheirPlaces) {
  const std::string header = R"({"b":)" + entry("BF16", "[2,3]", "[4,16]") + R"(,"a":)" +
                             entry("F32", "[]", "[0,4]") + R"(,"__metadata__":{"format":"pt"}})";
  const auto parsed = parse_safetensors(file_of(header, 16), "f");
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(2U, parsed->entries.size());
  EXPECT_EQ("a", parsed->entries[0].name);
  EXPECT_EQ(Shape{}, parsed->entries[0].shape);
  EXPECT_EQ(DType::kBF16, parsed->entries[1].dtype);
  EXPECT_EQ((Shape{2, 3}), parsed->entries[1].shape);
  EXPECT_EQ(8 + header.size() + 4, parsed->entries[1].begin);
  EXPECT_EQ(8 + header.size() + 16, parsed->entries[1].end);
  EXPECT_EQ("pt", parsed->metadata.at("format"));
  EXPECT_EQ(&parsed->entries[1], parsed->find("b"));
  EXPECT_EQ(nullptr, parsed->find("c"));
}

TEST(Safetensors, AcceptsSpacesAfterTheHeader) {
  EXPECT_TRUE(parse_safetensors(file_of("{}      ", 0), "f"));
}

TEST(Safetensors, AcceptsTensorsWithoutElements) {
  const std::string header = R"({"a":)" + entry("F32", "[0,7]", "[0,0]") + R"(,"b":)" +
                             entry("U8", "[2]", "[0,2]") + R"(,"c":)" +
                             entry("F64", "[3,0]", "[2,2]") + "}";
  EXPECT_TRUE(parse_safetensors(file_of(header, 2), "f"));
}

TEST(Safetensors, RejectsAFileWithoutAHeaderLength) {
  EXPECT_EQ("f: expected at least the 8 bytes of the header's length, got 3 bytes",
            refusal(std::vector<std::byte>(3)));
}

TEST(Safetensors, RejectsAHeaderAboveTheFormatsLimit) {
  EXPECT_EQ(
      "f: header length: expected at most 100000000, got 100000001. Is this a safetensors file?",
      refusal(file_of("{}", 0, 100'000'001)));
  EXPECT_EQ(
      "f: header length: expected at most 100000000, got 18446744073709551615. Is this a "
      "safetensors file?",
      refusal(file_of("{}", 0, ~std::uint64_t{0})));
}

TEST(Safetensors, RejectsAHeaderLongerThanTheFile) {
  EXPECT_EQ(
      "f: header length: expected at most the 2 bytes that follow, got 3. Is the file truncated?",
      refusal(file_of("{}", 0, 3)));
}

TEST(Safetensors, RejectsAHeaderThatDoesNotBeginWithABrace) {
  EXPECT_EQ("f: header: expected it to begin with '{', got byte 32", refusal(" {}", 0));
  EXPECT_EQ("f: header: expected it to begin with '{', got byte 91", refusal("[]", 0));
  EXPECT_EQ("f: header: expected it to begin with '{', got nothing", refusal("", 4));
}

TEST(Safetensors, RejectsAHeaderThatIsNotUtf8) {
  EXPECT_EQ("f: header: expected UTF-8, got another byte at file offset 10",
            refusal("{\"\xff\":1}", 0));
}

TEST(Safetensors, RejectsAHeaderThatIsNotJson) {
  EXPECT_EQ(0U, refusal("{\"a\":", 0).find("f: header: line 1, column 6: expected JSON, got "));
  EXPECT_EQ(0U, refusal("{} {}", 0).find("f: header: line 1, column 4: expected JSON, got "));
}

TEST(Safetensors, RejectsADuplicateName) {
  const std::string tensor = entry("U8", "[0]", "[0,0]");
  EXPECT_EQ("f: header: expected JSON, got the key \"a\" appears twice in one object",
            refusal(R"({"a":)" + tensor + R"(,"a":)" + tensor + "}", 0));
}

TEST(Safetensors, RejectsMetadataThatIsNotTextByName) {
  EXPECT_EQ("f: __metadata__: expected an object, got array", refusal(R"({"__metadata__":[]})", 0));
  EXPECT_EQ("f: __metadata__: key \"n\": expected a string, got number",
            refusal(R"({"__metadata__":{"n":1}})", 0));
}

TEST(Safetensors, RejectsAnEntryThatIsNoObject) {
  EXPECT_EQ("f: tensor \"a\": expected an object, got number", refusal(R"({"a":1})", 0));
}

TEST(Safetensors, RejectsAnUnknownDType) {
  EXPECT_EQ("f: tensor \"a\": dtype: expected a safetensors type, got \"F31\"",
            refusal(R"({"a":)" + entry("F31", "[0]", "[0,0]") + "}", 0));
  EXPECT_EQ("f: tensor \"a\": expected a string \"dtype\"",
            refusal(R"({"a":{"shape":[],"data_offsets":[0,0]}})", 0));
}

TEST(Safetensors, NamesADTypeThatIsKnownButNotSupported) {
  for (const std::string dtype :
       {"F4", "F6_E2M3", "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "C64"}) {
    EXPECT_EQ(
        "f: tensor \"a\": dtype " + dtype +
            " is not supported. Convert the tensor to F32, F16 or BF16 first",
        refusal(R"({"a":)" + entry(dtype, "[1]", "[0,1]") + "}", 1, Error::Kind::kUnsupported));
  }
}

TEST(Safetensors, RejectsAShapeThatIsNotOfIntegers) {
  for (const std::string axis : {"-1", "1.5", "\"1\"", "1e3", "18446744073709551616", "true"}) {
    const std::string message =
        refusal(R"({"a":)" + entry("U8", "[" + axis + "]", "[0,0]") + "}", 0);
    EXPECT_EQ(0U, message.find("f: tensor \"a\": shape: expected integers >= 0, got ")) << message;
  }
  EXPECT_EQ("f: tensor \"a\": expected an array \"shape\"",
            refusal(R"({"a":)" + entry("U8", "4", "[0,0]") + "}", 0));
}

TEST(Safetensors, RejectsOffsetsThatAreNotTwoIntegers) {
  const std::string two = "f: tensor \"a\": expected an array \"data_offsets\" of two integers";
  for (const std::string offsets : {"0", "[]", "[0]", "[0,0,0]", "{}"}) {
    EXPECT_EQ(two, refusal(R"({"a":)" + entry("U8", "[0]", offsets) + "}", 0));
  }
  EXPECT_EQ("f: tensor \"a\": data_offsets: expected integers >= 0, got [-1,0]",
            refusal(R"({"a":)" + entry("U8", "[0]", "[-1,0]") + "}", 0));
}

TEST(Safetensors, RejectsOffsetsInTheWrongOrder) {
  EXPECT_EQ("f: tensor \"a\": data_offsets: expected begin <= end, got [2,1]",
            refusal(R"({"a":)" + entry("U8", "[1]", "[2,1]") + "}", 4));
}

TEST(Safetensors, RejectsATensorBeyondTheEndOfTheFile) {
  EXPECT_EQ(
      "f: tensor \"a\": data_offsets: expected them inside the 3 bytes of data, got [0,4]. Is the "
      "file truncated?",
      refusal(R"({"a":)" + entry("F32", "[1]", "[0,4]") + "}", 3));
}

TEST(Safetensors, RejectsAShapeWhoseSizeOverflows) {
  // 2^32 * 2^32 * 1 = 2^64 wraps to 0, as does 2^62 elements of 4 bytes.
  EXPECT_EQ(
      "f: tensor \"a\": shape [4294967296, 4294967296] of U8: expected a size that fits 64 bits",
      refusal(R"({"a":)" + entry("U8", "[4294967296,4294967296]", "[0,0]") + "}", 0));
  EXPECT_EQ(
      "f: tensor \"a\": shape [4611686018427387904] of F32: expected a size that fits 64 bits",
      refusal(R"({"a":)" + entry("F32", "[4611686018427387904]", "[0,0]") + "}", 0));
}

TEST(Safetensors, RejectsASpanThatIsNotTheSizeOfTheShape) {
  EXPECT_EQ("f: tensor \"a\": expected 12 bytes for F32 [3], got data_offsets [0,8] of 8 bytes",
            refusal(R"({"a":)" + entry("F32", "[3]", "[0,8]") + "}", 8));
}

TEST(Safetensors, RejectsTensorsThatOverlap) {
  EXPECT_EQ("f: tensors \"b\" and \"a\" overlap: expected the second at data offset 4, got 3",
            refusal(R"({"a":)" + entry("U8", "[4]", "[3,7]") + R"(,"b":)" +
                        entry("U8", "[4]", "[0,4]") + "}",
                    7));
}

TEST(Safetensors, RejectsTwoTensorsOnTheSameBytes) {
  EXPECT_EQ("f: tensors \"a\" and \"b\" overlap: expected the second at data offset 4, got 0",
            refusal(R"({"a":)" + entry("U8", "[4]", "[0,4]") + R"(,"b":)" +
                        entry("U8", "[4]", "[0,4]") + "}",
                    4));
}

TEST(Safetensors, RejectsAHole) {
  EXPECT_EQ(
      "f: tensor \"b\": expected it at data offset 4, got 5: the bytes between belong to no tensor",
      refusal(
          R"({"a":)" + entry("U8", "[4]", "[0,4]") + R"(,"b":)" + entry("U8", "[1]", "[5,6]") + "}",
          6));
}

TEST(Safetensors, RejectsBytesAfterTheLastTensor) {
  const std::string header = R"({"a":)" + entry("U8", "[4]", "[0,4]") + "}";
  EXPECT_EQ("f: expected the file to end with its last tensor at byte " +
                std::to_string(8 + header.size() + 4) + ", got 2 more bytes",
            refusal(header, 6));
}

TEST(Safetensors, ReadsAHeaderOfManyTensorsInAnyOrderQuickly) {
  std::string header = "{";
  const std::size_t count = 20'000;
  for (std::size_t i = count; i-- > 0;) {
    header += "\"model.layers." + std::to_string(i) + "\":" +
              entry("U8", "[1]", "[" + std::to_string(i) + "," + std::to_string(i + 1) + "]") +
              (i == 0 ? "}" : ",");
  }
  const auto parsed = parse_safetensors(file_of(header, count), "f");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(count, parsed->entries.size());
}

TEST_F(SafetensorsFileTest, ViewsOfTensorsOutliveTheFileObject) {
  const std::string header = R"({"a":)" + entry("F32", "[2]", "[0,8]") + "}";
  auto bytes = file_of(header, 8);
  const std::vector<float> values = {1.5f, -2.0f};
  std::memcpy(bytes.data() + 8 + header.size(), values.data(), 8);
  const auto path = root_ / "a.safetensors";
  ASSERT_TRUE(write_text_file(
      path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  Tensor tensor;
  {
    const auto file = SafetensorsFile::open(path);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(bytes.size(), file->file_bytes());
    const auto missing = file->read("b");
    ASSERT_FALSE(missing);
    EXPECT_EQ(path.string() + ": there is no tensor \"b\"", missing.error().message);
    tensor = *file->read("a");
    file->release(*file->header().find("a"));
  }
  EXPECT_EQ(values, tensor.to_f32());
}

TEST(SafetensorsGolden, ReadsWhatThePythonLibraryWrote) {
  FPTQ_REQUIRE_TEST_DATA("golden/formats");
  std::size_t files = 0;
  for (const auto& item :
       std::filesystem::recursive_directory_iterator(testing::test_data_dir() / "golden")) {
    if (item.path().extension() != ".safetensors") continue;
    const auto file = SafetensorsFile::open(item.path());
    EXPECT_TRUE(file) << file.error().message;
    ++files;
  }
  EXPECT_GT(files, 20U);
}

}  // namespace
}  // namespace fptq::io
