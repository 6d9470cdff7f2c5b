#include "io/safetensors_writer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "io/safetensors.h"
#include "support/temporary_directory.h"

namespace fptq::io {
namespace {

using SafetensorsWriterTest = testing::TemporaryDirectoryTest;

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

std::string text_of(const std::filesystem::path& path) {
  const auto text = read_text_file(path);
  EXPECT_TRUE(text) << text.error().message;
  return text ? *text : "";
}

std::string sha256_of(const std::filesystem::path& path) {
  const std::string text = text_of(path);
  return sha256_hex(std::as_bytes(std::span(text)));
}

TEST_F(SafetensorsWriterTest, WritesTheBytesThatTheFormatDescribes) {
  auto writer = SafetensorsWriter::create(root_, {{"b", DType::kF32, {2}}, {"a", DType::kU8, {}}});
  ASSERT_TRUE(writer) << writer.error().message;
  const std::vector<float> values = {1.0f, 2.0f};
  ASSERT_TRUE(writer->write("b", std::as_bytes(std::span(values))));
  ASSERT_TRUE(writer->write("a", pattern(1, 65)));
  ASSERT_TRUE(writer->finish());
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";
  const std::string file = text_of(root_ / "model.safetensors");
  const std::size_t padded = (header.size() + 7) / 8 * 8;
  ASSERT_EQ(8 + padded + 9, file.size());
  EXPECT_EQ(static_cast<char>(padded), file[0]);
  EXPECT_EQ(header + std::string(padded - header.size(), ' '), file.substr(8, padded));
  EXPECT_EQ('A', file.back());
  ASSERT_EQ(2U, writer->written_tensors().size());
  EXPECT_EQ(sha256_hex(std::as_bytes(std::span(values))), writer->written_tensors()[0].sha256);
  ASSERT_EQ(1U, writer->written_files().size());
  EXPECT_EQ(sha256_of(root_ / "model.safetensors"), writer->written_files()[0].sha256);
  EXPECT_EQ(file.size(), writer->written_files()[0].bytes);
  EXPECT_EQ(9U, writer->total_bytes());
}

TEST_F(SafetensorsWriterTest, PiecesInAnyOrderGiveTheSameFileAndHashes) {
  const std::vector<TensorSpec> specs = {{"a", DType::kU8, {40}},
                                         {"b", DType::kI32, {3}},
                                         {"c", DType::kBF16, {5, 2}},
                                         {"d", DType::kI64, {1}}};
  const auto a = pattern(40, 1), b = pattern(12, 2), c = pattern(20, 3), d = pattern(8, 4);
  std::filesystem::create_directory(root_ / "whole");
  auto whole = SafetensorsWriter::create(root_ / "whole", specs);
  ASSERT_TRUE(whole);
  ASSERT_TRUE(whole->write("a", a) && whole->write("b", b) && whole->write("c", c) &&
              whole->write("d", d) && whole->finish());

  auto pieces = SafetensorsWriter::create(root_, specs);
  ASSERT_TRUE(pieces);
  ASSERT_TRUE(pieces->write("d", d));
  ASSERT_TRUE(pieces->write("c", std::span(c).first(7)));
  ASSERT_TRUE(pieces->write("a", std::span(a).first(39)));
  ASSERT_TRUE(pieces->write("c", std::span(c).subspan(7)));
  ASSERT_TRUE(pieces->write("b", b));
  ASSERT_TRUE(pieces->write("a", std::span(a).subspan(39)));
  ASSERT_TRUE(pieces->finish());

  EXPECT_EQ(text_of(root_ / "whole/model.safetensors"), text_of(root_ / "model.safetensors"));
  EXPECT_EQ(whole->written_files()[0].sha256, pieces->written_files()[0].sha256);
  EXPECT_EQ(sha256_of(root_ / "model.safetensors"), pieces->written_files()[0].sha256);
  EXPECT_EQ("d", pieces->written_tensors()[0].name);
  EXPECT_EQ(sha256_hex(c), pieces->written_tensors()[1].sha256);
}

TEST_F(SafetensorsWriterTest, AlignsEveryTensorToItsElements) {
  const std::vector<TensorSpec> specs = {{"a", DType::kU8, {3}},   {"b", DType::kBF16, {3}},
                                         {"c", DType::kF32, {3}},  {"d", DType::kI64, {3}},
                                         {"e", DType::kBF16, {4}}, {"f", DType::kU8, {8}}};
  auto writer = SafetensorsWriter::create(root_, specs);
  ASSERT_TRUE(writer);
  for (const TensorSpec& spec : specs) {
    const std::size_t size = *element_count(spec.shape) * dtype_bytes(spec.dtype);
    ASSERT_TRUE(writer->write(spec.name, pattern(size, static_cast<unsigned char>(spec.name[0]))));
  }
  ASSERT_TRUE(writer->finish());
  const auto file = SafetensorsFile::open(root_ / "model.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  for (const SafetensorsEntry& entry : file->header().entries) {
    EXPECT_EQ(0U, entry.begin % dtype_bytes(entry.dtype)) << entry.name;
    const auto expected =
        pattern(entry.end - entry.begin, static_cast<unsigned char>(entry.name[0]));
    const Tensor tensor = file->read(entry);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), tensor.bytes().begin())) << entry.name;
  }
}

TEST_F(SafetensorsWriterTest, ShardsAboveTheLimitAndWritesAnIndex) {
  // 16 + 16 fill a file of 32; "c" alone exceeds it; "d" and "e" share the last.
  const std::vector<TensorSpec> specs = {{"a", DType::kU8, {16}},
                                         {"b", DType::kU8, {16}},
                                         {"c", DType::kU8, {40}},
                                         {"d", DType::kU8, {8}},
                                         {"e", DType::kU8, {24}}};
  SafetensorsWriterOptions options;
  options.max_shard_bytes = 32;
  auto writer = SafetensorsWriter::create(root_, specs, options);
  ASSERT_TRUE(writer);
  for (const TensorSpec& spec : specs) {
    ASSERT_TRUE(writer->write(spec.name, pattern(spec.shape[0], 0)));
  }
  ASSERT_TRUE(writer->finish());
  const auto index = parse_json(text_of(root_ / "model.safetensors.index.json"), "index");
  ASSERT_TRUE(index);
  const Json expected = {{"metadata", {{"total_size", 104}}},
                         {"weight_map",
                          {{"a", "model-00001-of-00003.safetensors"},
                           {"b", "model-00001-of-00003.safetensors"},
                           {"c", "model-00002-of-00003.safetensors"},
                           {"d", "model-00003-of-00003.safetensors"},
                           {"e", "model-00003-of-00003.safetensors"}}}};
  EXPECT_EQ(expected, *index);
  ASSERT_EQ(4U, writer->written_files().size());
  for (const WrittenFile& file : writer->written_files()) {
    EXPECT_EQ(sha256_of(root_ / file.name), file.sha256) << file.name;
  }
  const auto last = SafetensorsFile::open(root_ / "model-00003-of-00003.safetensors");
  ASSERT_TRUE(last) << last.error().message;
  EXPECT_EQ(2U, last->header().entries.size());
}

TEST_F(SafetensorsWriterTest, WritesTensorsWithoutElementsAndFilesWithoutTensors) {
  auto writer = SafetensorsWriter::create(root_, {{"a", DType::kF32, {0, 3}}});
  ASSERT_TRUE(writer && writer->finish());
  const auto file = SafetensorsFile::open(root_ / "model.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((Shape{0, 3}), file->header().entries[0].shape);
  std::filesystem::create_directory(root_ / "none");
  auto none = SafetensorsWriter::create(root_ / "none", {});
  ASSERT_TRUE(none && none->finish());
  EXPECT_TRUE(SafetensorsFile::open(root_ / "none/model.safetensors"));
}

TEST_F(SafetensorsWriterTest, RefusesWhatWasNotDeclared) {
  auto writer = SafetensorsWriter::create(root_, {{"a", DType::kF32, {2}}});
  ASSERT_TRUE(writer);
  const std::string where = root_.string() + ": tensor ";
  EXPECT_EQ(where + "\"b\": was not declared", writer->write("b", pattern(1, 0)).error().message);
  EXPECT_EQ(where + "\"a\": expected 8 bytes, got 9",
            writer->write("a", pattern(9, 0)).error().message);
  const auto other = Tensor::from_f32({1, 2}, std::vector<float>{1, 2});
  EXPECT_EQ(where + "\"a\": expected F32 [2], got F32 [1, 2]",
            writer->write("a", *other).error().message);
  ASSERT_TRUE(writer->write("a", pattern(7, 0)));
  EXPECT_EQ(where + "\"a\": expected 8 bytes, got only 7", writer->finish().error().message);
  EXPECT_FALSE(std::filesystem::exists(root_ / "model.safetensors"));
}

TEST_F(SafetensorsWriterTest, RefusesNamesThatCannotStandInAFile) {
  const auto message = [&](std::vector<TensorSpec> specs) {
    return SafetensorsWriter::create(root_, std::move(specs)).error().message;
  };
  const std::string where = root_.string() + ": tensor ";
  const std::string bad = "expected a name in UTF-8, not empty, not reserved";
  EXPECT_EQ(where + "\"\": " + bad, message({{"", DType::kU8, {}}}));
  EXPECT_EQ(where + "\"__metadata__\": " + bad, message({{"__metadata__", DType::kU8, {}}}));
  EXPECT_EQ(where + "\"\xff\": " + bad, message({{"\xff", DType::kU8, {}}}));
  EXPECT_EQ(where + "\"a\": declared twice",
            message({{"a", DType::kU8, {}}, {"a", DType::kU8, {}}}));
  EXPECT_EQ(where + "\"a\": shape [4611686018427387904] is too large",
            message({{"a", DType::kF32, {std::size_t{1} << 62}}}));
}

}  // namespace
}  // namespace fptq::io
