#include "text/task_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace fptq::text {
namespace {

// What a template makes of one document, as JSON text, or the error's message.
std::string rendered(const std::string& source, const std::string& document) {
  const auto parsed = TaskTemplate::from_source(source, "t.yaml: doc_to_text");
  if (!parsed) return parsed.error().message;
  const Json documents[] = {Json::parse(document)};
  const auto values = parsed->render(documents, 7);
  if (!values) return values.error().message;
  EXPECT_EQ(values->size(), 1U);
  return values->front().dump();
}

TEST(TaskTemplate, KeepsLineFeedsAndSpaces) {
  EXPECT_EQ(rendered("Question: {{q}}\nAnswer:\n", R"({"q": "<a> & b"})"),
            R"("Question: <a> & b\nAnswer:\n")");
}

TEST(TaskTemplate, GivesTheValueOfALoneExpression) {
  EXPECT_EQ(rendered("{{[a, b]}}", R"({"a": "x", "b": 2})"), R"(["x",2])");
  EXPECT_EQ(rendered("{{choices.label.index(key)}}",
                     R"({"choices": {"label": ["A", "B", "C"]}, "key": "C"})"),
            "2");
  EXPECT_EQ(rendered("{{c | map(attribute='text') | list}}", R"({"c": [{"text": "x"}]})"),
            R"(["x"])");
  EXPECT_EQ(rendered("{{a}} {{b}}", R"({"a": 1, "b": 2})"), R"("1 2")");
}

TEST(TaskTemplate, SplitsAndJoinsAsPythonDoes) {
  EXPECT_EQ(rendered("{{text.split(' ')[:-1]|join(' ')}}", R"({"text": "a  b\nc d"})"),
            R"("a  b\nc")");
  EXPECT_EQ(rendered("{{' '+text.split(' ')[-1]}}", R"({"text": "a b\nc"})"), R"(" b\nc")");
}

TEST(TaskTemplate, ReplacesByRegularExpression) {
  EXPECT_EQ(rendered(R"({{t | regex_replace('\\[.*?\\]', '')}})", R"({"t": "a [x] b [y]c"})"),
            R"("a  b c")");
  EXPECT_EQ(
      rendered(R"({{t | regex_replace('(\\w)-(\\w)', '\\2$\\g<1>', 1)}})", R"({"t": "a-b c-d"})"),
      R"("b$a c-d")");
}

TEST(TaskTemplate, NamesTheDocumentThatLacksAField) {
  EXPECT_EQ(rendered("{{goal}}", R"({"gaol": "x", "sol1": "y"})"),
            "t.yaml: doc_to_text: document 7: the template fails: undefined value. The document "
            "has the fields gaol, sol1");
  EXPECT_EQ(rendered("Q: {{goal}}", "{}"),
            "t.yaml: doc_to_text: document 7: the template fails: line 1: undefined value. The "
            "document has the fields none");
}

TEST(TaskTemplate, SaysWhichValueIsNotInAList) {
  EXPECT_EQ(rendered("{{labels.index(key)}}", R"({"labels": ["A", "B"], "key": "E"})"),
            "t.yaml: doc_to_text: document 7: the template fails: line 1: invalid operation: "
            "'E' is not in list. The document has the fields labels, key");
}

TEST(TaskTemplate, RefusesWhatIsNotJinja) {
  const std::string message = rendered("{% if %}", "{}");
  EXPECT_TRUE(message.starts_with("t.yaml: doc_to_text: not a usable template: line 1: "))
      << message;
}

TEST(TaskTemplate, BoundsTheWorkOfADocument) {
  const std::string message = rendered(
      "{% for i in range(9999) %}{% for j in range(9999) %}{{i}}{% endfor %}{% endfor %}", "{}");
  EXPECT_NE(message.find("more work than a document may cost"), std::string::npos) << message;
}

TEST(TaskTemplate, RefusesABadRegularExpression) {
  EXPECT_NE(rendered("{{'a' | regex_replace('(', '')}}", "{}").find("regex_replace"),
            std::string::npos);
  EXPECT_NE(rendered(R"({{'a' | regex_replace('a', '\\q')}})", "{}").find("bad escape"),
            std::string::npos);
}

}  // namespace
}  // namespace fptq::text
