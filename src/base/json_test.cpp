#include "base/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace fptq {
namespace {

std::string error_of(const std::string& text) {
  const auto json = parse_json(text, "config.json");
  return json ? "parsed" : json.error().message;
}

TEST(ParseJson, KeepsKeysInTheOrderOfTheFile) {
  const auto json = parse_json(R"({"z": 1, "a": [true, null, -2, 1.5, "x"]})", "config.json");
  ASSERT_TRUE(json);
  EXPECT_EQ(R"({"z":1,"a":[true,null,-2,1.5,"x"]})", json->dump());
}

TEST(ParseJson, FindsKeysOfLargeObjects) {
  std::string text = "{";
  for (int i = 0; i < 5000; ++i) {
    text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":" + std::to_string(i);
  }
  const auto json = parse_json(text + "}", "index.json");
  ASSERT_TRUE(json);
  EXPECT_EQ(4999, json->at("k4999").get<int>());
}

TEST(ParseJson, SaysWhereTheTextStopsBeingJson) {
  EXPECT_EQ(
      "config.json: line 2, column 8: expected JSON, got syntax error while parsing value - "
      "unexpected '}'; expected '[', '{', or a literal",
      error_of("{\n  \"a\": }"));
  EXPECT_NE("parsed", error_of(""));
  EXPECT_NE("parsed", error_of("{} {}"));
  EXPECT_NE("parsed", error_of("{\"a\": NaN}"));
}

TEST(ParseJsonLine, NamesTheLineOfTheFile) {
  const auto error = [](std::string_view line) {
    const auto parsed = parse_json_line(line, "d.jsonl", 14);
    return parsed ? std::string("parsed") : parsed.error().message;
  };
  EXPECT_EQ(error("{\"a\": 1}"), "parsed");
  EXPECT_TRUE(error("{\"a\": }").starts_with("d.jsonl: line 14, column 7: expected JSON, got "));
  EXPECT_EQ(error("{\"a\": 1, \"a\": 2}"),
            "d.jsonl: line 14: expected JSON, got the key \"a\" appears twice in one object");
}

TEST(ParseJson, RejectsAKeyThatAppearsTwice) {
  EXPECT_EQ("config.json: expected JSON, got the key \"a\" appears twice in one object",
            error_of(R"({"a": 1, "b": {"a": 2}, "a": 3})"));
}

TEST(ParseJson, RejectsNestingThatWouldExhaustTheStack) {
  const std::string deep(200, '[');
  EXPECT_EQ("config.json: expected JSON, got nested deeper than 128 levels", error_of(deep));
  const std::string fits = std::string(128, '[') + std::string(128, ']');
  EXPECT_EQ("parsed", error_of(fits));
}

TEST(ParseJson, RejectsTextThatIsNotUtf8) {
  EXPECT_NE(std::string::npos, error_of("{\"a\": \"\xC3\x28\"}").find("UTF-8"));
}

}  // namespace
}  // namespace fptq
