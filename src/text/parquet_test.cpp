#include "text/parquet.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/temporary_directory.h"

namespace fptq::text {
namespace {

// Written by pyarrow: tests/golden/parquet/make.py.
std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(FPTQ_SOURCE_DIR) / "tests/golden/parquet" / (name + ".parquet");
}

Json question(int i) {
  Json texts = Json::array();
  Json labels = Json::array();
  for (int k = 0; k < i % 4; ++k) {
    texts.push_back(std::to_string(i + k));
    labels.push_back(std::string(1, "ABCD"[k]));
  }
  const std::string number = std::to_string(i);
  return Json{{"id", "q" + number},
              {"question", "How many are " + number + " and " + number + "? \u00bd \"a\"\n"},
              {"choices", {{"text", texts}, {"label", labels}}},
              {"answer", i % 5 == 0 ? Json(nullptr) : Json(i % 3)}};
}

std::vector<Json> rows_of(const std::filesystem::path& path) {
  std::vector<Json> rows;
  const Status status = read_parquet_rows(path, [&](Json row) -> Status {
    rows.push_back(std::move(row));
    return {};
  });
  EXPECT_TRUE(status) << status.error().message;
  return rows;
}

std::string error_of(const std::filesystem::path& path) {
  const Status status = read_parquet_rows(path, [](const Json&) -> Status { return {}; });
  if (status) return "no error";
  EXPECT_EQ(Error::Kind::kFormat, status.error().kind);
  return status.error().message;
}

class ParquetCodec : public ::testing::TestWithParam<const char*> {};

TEST_P(ParquetCodec, GivesEveryRowOfEveryRowGroup) {
  const std::vector<Json> rows = rows_of(golden(GetParam()));
  ASSERT_EQ(25U, rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(question(static_cast<int>(i)), rows[i]);
}

INSTANTIATE_TEST_SUITE_P(All, ParquetCodec,
                         ::testing::Values("none", "snappy", "gzip", "brotli", "zstd", "lz4"),
                         [](const auto& codec) { return std::string(codec.param); });

TEST(Parquet, ReadsSmallPagesOfTheSecondVersion) {
  const std::vector<Json> rows = rows_of(golden("v2"));
  ASSERT_EQ(200U, rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(question(static_cast<int>(i)), rows[i]);
}

TEST(Parquet, WritesEveryTypeAsJson) {
  auto reader = ParquetReader::open(golden("types"));
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(2U, reader->row_count());
  const auto lines = reader->read_lines();
  ASSERT_TRUE(lines) << lines.error().message;
  EXPECT_EQ(
      "{\"bool\":true,\"int8\":-8,\"uint8\":200,\"uint32\":4000000000,"
      "\"uint64\":18446744073709551615,\"int64\":-9007199254740993,\"half\":1.5,"
      "\"float\":0.10000000149011612,\"double\":0.1,\"nan\":null,\"decimal\":\"-123.45\","
      "\"date\":\"2024-02-29\",\"millis\":\"2024-02-29T12:00:00.250\","
      "\"nanos\":\"2024-02-29T12:00:00.250000000\",\"text\":\"tab\\there\","
      "\"lists\":[[1,null],[],null],\"map\":[{\"key\":\"a\",\"value\":1},"
      "{\"key\":\"b\",\"value\":null}],\"deep\":{\"a\":{\"b\":[{\"c\":\"x\"},{\"c\":null}]}}}\n"
      "{\"bool\":null,\"int8\":null,\"uint8\":null,\"uint32\":null,\"uint64\":null,"
      "\"int64\":null,\"half\":null,\"float\":null,\"double\":null,\"nan\":null,"
      "\"decimal\":null,\"date\":null,\"millis\":null,\"nanos\":null,\"text\":null,"
      "\"lists\":null,\"map\":null,\"deep\":null}\n",
      *lines);
  const auto end = reader->read_lines();
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ("", *end);
}

TEST(Parquet, KeepsTheDigitsOfUnusualValues) {
  EXPECT_EQ((std::vector<Json>{{{"date", "0001-01-01"},
                                {"micros", "1969-12-31T23:59:59.999999"},
                                {"small", "-0.05"},
                                {"large", "1000000000000000000000000000000"},
                                {"half", -2.0}},
                               {{"date", "1969-12-31"},
                                {"micros", "1970-01-01T00:00:00.000000"},
                                {"small", "0.07"},
                                {"large", "-1000000000000000000000000000000"},
                                {"half", 0x1p-24}}}),
            rows_of(golden("edges")));
}

TEST(Parquet, StopsAtTheFirstErrorOfItsUser) {
  std::size_t calls = 0;
  const Status status = read_parquet_rows(golden("none"), [&](const Json&) -> Status {
    if (++calls == 3) return Error{Error::Kind::kLimit, "enough"};
    return {};
  });
  ASSERT_FALSE(status);
  EXPECT_EQ("enough", status.error().message);
  EXPECT_EQ(3U, calls);
}

TEST(Parquet, NamesRowAndColumnOfBytesThatAreNoText) {
  EXPECT_EQ(golden("binary").string() +
                ": row 0: column image: expected text in UTF-8, got 0xff as byte 0",
            error_of(golden("binary")));
}

class DamagedParquet : public fptq::testing::TemporaryDirectoryTest {
 protected:
  // The error of the golden file after `change`, without its path.
  template <typename Change>
  std::string error_after(const std::string& name, Change change) {
    auto bytes = read_text_file(golden(name));
    EXPECT_TRUE(bytes) << bytes.error().message;
    change(*bytes);
    const std::filesystem::path path = root_ / "damaged.parquet";
    EXPECT_TRUE(write_text_file(path, *bytes));
    return error_of(path).substr(path.string().size() + 2);
  }
};

TEST_F(DamagedParquet, RejectsAnotherFile) {
  const std::string error = "expected a Parquet file, which ends with PAR1, got another file";
  EXPECT_EQ(error, error_after("none", [](std::string& bytes) { bytes = "PAR1PAR1"; }));
  EXPECT_EQ(error, error_after("none", [](std::string& bytes) { bytes.pop_back(); }));
  EXPECT_EQ(error, error_after("none", [](std::string& bytes) { bytes = ""; }));
}

TEST_F(DamagedParquet, RejectsMetadataLongerThanTheFile) {
  EXPECT_EQ("expected metadata of at most 4952 bytes, got 4294967295",
            error_after("none", [](std::string& bytes) {
              bytes.replace(bytes.size() - 8, 4, "\xff\xff\xff\xff");
            }));
}

TEST_F(DamagedParquet, RejectsACompressedPageThatUnpacksToMoreThanItSays) {
  // The first page's header begins behind PAR1: its type, then its unpacked size, a zigzag varint.
  EXPECT_EQ(
      "row 0: column id: Parquet error: a compressed page is damaged: expected 59 bytes, got "
      "another size",
      error_after("zstd", [](std::string& bytes) {
        ASSERT_EQ('\x78', bytes[7]);  // 60
        bytes[7] = '\x76';            // 59
      }));
}

TEST_F(DamagedParquet, RejectsAPageThatClaimsTooMuch) {
  EXPECT_EQ(
      "row 0: column id: Parquet error: expected a page of at most 268435456 bytes, got "
      "1073741823",
      error_after("none", [](std::string& bytes) {
        ASSERT_EQ("\x15\x78", bytes.substr(6, 2));  // the unpacked size
        bytes.replace(6, 2, "\x15\xfe\xff\xff\xff\x07");
      }));
}

TEST_F(DamagedParquet, SaysWhereAFileIsCut) {
  const std::string error = error_after("snappy", [](std::string& bytes) { bytes.erase(4, 300); });
  EXPECT_NE(std::string::npos, error.find("column")) << error;
}

}  // namespace
}  // namespace fptq::text
