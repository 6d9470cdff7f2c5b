#include "report/table.h"

#include <gtest/gtest.h>

namespace fptq::report {
namespace {

Table two_models() {
  return {{{"model", Align::kLeft}, {"ppl", Align::kRight}},
          {{"base", "9.5 \u00B1 0.1"}, {"a|b", "10"}}};
}

TEST(TerminalTable, AlignsByCharactersNotBytes) {
  EXPECT_EQ(terminal_text(two_models()),
            "model        ppl\n"
            "-----  ---------\n"
            "base   9.5 \u00B1 0.1\n"
            "a|b           10\n");
}

TEST(TerminalTable, LeavesNoSpacesAtTheEndOfLines) {
  const Table table = {{{"a", Align::kLeft}, {"b", Align::kLeft}}, {{"1", ""}, {"2", "long"}}};
  EXPECT_EQ(terminal_text(table), "a  b\n-  ----\n1\n2  long\n");
}

TEST(MarkdownTable, StatesAlignmentAndEscapesBars) {
  EXPECT_EQ(markdown_text(two_models()),
            "| model | ppl |\n|---|---:|\n| base | 9.5 \u00B1 0.1 |\n| a\\|b | 10 |\n");
}

TEST(HtmlTable, EscapesItsText) {
  const Table table = {{{"<b>", Align::kRight}}, {{"a & \"b\""}}};
  EXPECT_EQ(
      html_text(table),
      "<table>\n<thead><tr><th scope=\"col\" class=\"number\">&lt;b&gt;</th></tr></thead>\n"
      "<tbody>\n<tr><th scope=\"row\" class=\"number\">a &amp; &quot;b&quot;</th></tr>\n</tbody>\n"
      "</table>\n");
}

TEST(HtmlTable, HasItsCaption) {
  const Table table = {{{"a", Align::kLeft}}, {{"1"}}, "<c>"};
  EXPECT_TRUE(
      html_text(table).starts_with("<table>\n<caption><span>&lt;c&gt;</span></caption>\n<thead>"));
}

TEST(TerminalTable, KeepsRowsOnALineAndTerminalsAsTheyAre) {
  const Table table = {{{"a", Align::kLeft}}, {{"x\ny\x1B[31m"}}};
  EXPECT_EQ(terminal_text(table), "a\n--------\nx y\uFFFD[31m\n");
}

TEST(WithoutEmptyColumns, KeepsThoseWithACell) {
  const Table table = {{{"a", {}}, {"b", {}}, {"c", {}}}, {{"1", "", ""}, {"", "", "2"}}, "t"};
  const Table kept = without_empty_columns(table);
  ASSERT_EQ(kept.columns.size(), 2U);
  EXPECT_EQ(kept.columns[1].header, "c");
  EXPECT_EQ(kept.rows[0], (std::vector<std::string>{"1", ""}));
  EXPECT_EQ(kept.rows[1], (std::vector<std::string>{"", "2"}));
  EXPECT_EQ(kept.caption, "t");
}

}  // namespace
}  // namespace fptq::report
