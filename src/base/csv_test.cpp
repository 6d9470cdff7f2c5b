#include "base/csv.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq {
namespace {

// "a|b;c" for two records of which the first has two fields; or the error's message.
std::string parsed(const std::string& text) {
  const auto records = parse_csv(text, "t.csv");
  if (!records) return records.error().message;
  std::string all;
  for (const CsvRecord& record : *records) {
    if (!all.empty()) all += ';';
    for (std::size_t i = 0; i < record.fields.size(); ++i) {
      all += (i > 0 ? "|" : "") + record.fields[i];
    }
  }
  return all;
}

TEST(Csv, ReadsFieldsWithAndWithoutQuotes) {
  EXPECT_EQ(parsed("a,b\n1,\"x, \"\"y\"\"\nz\"\n"), "a|b;1|x, \"y\"\nz");
  EXPECT_EQ(parsed("a,,\r\n\"b\",c,\r\n"), "a||;b|c|");
  EXPECT_EQ(parsed("a,b"), "a|b");
  EXPECT_EQ(parsed("a,"), "a|");
  EXPECT_EQ(parsed("a\rb,c\n"), "a\rb|c");
}

TEST(Csv, SkipsBlankLines) {
  EXPECT_EQ(parsed(""), "");
  EXPECT_EQ(parsed("\n\na\n\r\nb\n"), "a;b");
}

TEST(Csv, KnowsWhereARecordBegins) {
  const auto records = parse_csv("a\n\"b\nc\"\nd\n", "t.csv");
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 3U);
  EXPECT_EQ((*records)[1].line, 2U);
  EXPECT_EQ((*records)[2].line, 4U);
}

TEST(Csv, RefusesQuotesThatDoNotFit) {
  EXPECT_EQ(parsed("a\nb,\"c\nd"),
            "t.csv: line 2: expected a quote that closes the field, got the end of the file");
  EXPECT_EQ(parsed("\"a\"b,c\n"),
            "t.csv: line 1: expected a comma behind a field in quotes, got more text");
}

}  // namespace
}  // namespace fptq
