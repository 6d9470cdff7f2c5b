#include "base/yaml.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq {
namespace {

std::string message_of(const std::string& text) {
  const auto node = parse_yaml(text, "r.yaml");
  return node ? "accepted" : node.error().message;
}

TEST(Yaml, KeepsKeysInFileOrderAndKnowsTheirPlaces) {
  const auto root = parse_yaml("b: 1\na:\n  - x: 'y'\n  - []\n", "r.yaml");
  ASSERT_TRUE(root);
  ASSERT_EQ(root->kind, YamlNode::Kind::kMapping);
  EXPECT_EQ(root->keys, (std::vector<std::string>{"b", "a"}));
  ASSERT_EQ(root->items.size(), 2U);
  EXPECT_EQ(root->items[0].scalar, "1");
  const YamlNode& list = root->items[1];
  ASSERT_EQ(list.items.size(), 2U);
  EXPECT_EQ(list.items[0].items[0].scalar, "y");
  EXPECT_EQ(list.items[0].items[0].place("r.yaml"), "r.yaml: line 3, column 8");
  EXPECT_EQ(list.items[1].kind, YamlNode::Kind::kSequence);
}

TEST(Yaml, ReadsAnEmptyDocumentAsNothing) {
  const auto root = parse_yaml("", "r.yaml");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->kind, YamlNode::Kind::kNull);
}

TEST(Yaml, RejectsARepeatedKeyWithItsPlace) {
  EXPECT_EQ(message_of("a: 1\nb: 2\na: 3\n"),
            "r.yaml: line 3, column 1: the key \"a\" appears twice");
}

TEST(Yaml, RejectsAnchorsAndAliases) {
  EXPECT_EQ(message_of("a: &x 1\n"), "r.yaml: line 1, column 4: expected a value, got an anchor");
  const auto bomb = parse_yaml("a: &x [1]\nb: [*x, *x]\n", "r.yaml");
  ASSERT_FALSE(bomb);
  EXPECT_EQ(bomb.error().kind, Error::Kind::kFormat);
}

TEST(Yaml, RejectsTags) {
  EXPECT_EQ(message_of("a: !!binary AAAA\n"),
            "r.yaml: line 1, column 4: expected a value, got the tag tag:yaml.org,2002:binary");
}

TEST(Yaml, RejectsKeysThatAreNotPlainValues) {
  EXPECT_NE(message_of("? [a, b]\n: c\n").find("expected a key, got a sequence"),
            std::string::npos);
}

TEST(Yaml, RejectsASecondDocument) {
  EXPECT_EQ(message_of("a: 1\n---\nb: 2\n"), "r.yaml: expected one document, got several");
}

TEST(Yaml, RejectsDeepNesting) {
  EXPECT_NE(message_of(std::string(9, '[') + std::string(9, ']')).find("nested deeper than 8"),
            std::string::npos);
  EXPECT_NE(message_of(std::string(60000, '[')), "accepted");
}

TEST(Yaml, RejectsHugeFiles) {
  const auto node = parse_yaml(std::string((64 << 10) + 1, ' '), "r.yaml");
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().kind, Error::Kind::kLimit);
  EXPECT_EQ(node.error().message, "r.yaml: expected at most 65536 bytes, got 65537");
}

TEST(Yaml, SaysWhereTextIsNotYaml) {
  const std::string message = message_of("a: 1\nb: [1, 2\nc: 3\n");
  EXPECT_NE(message.find("r.yaml: line "), std::string::npos) << message;
  EXPECT_NE(message.find("expected YAML, got: "), std::string::npos) << message;
}

}  // namespace
}  // namespace fptq
