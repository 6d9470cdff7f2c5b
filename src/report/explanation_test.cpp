#include "report/explanation.h"

#include <gtest/gtest.h>

namespace fptq::report {
namespace {

ExplanationFigures figures() {
  ExplanationFigures f;
  f.base = "base<";
  f.candidate = "out";
  f.total = 0.5;
  f.standard_error = 0.01;
  f.budget = {{"weights", 0.75, 0.25, 0.5}, {"cache", -0.25, 0.25, 0.0}};
  f.parts = {{"model.layers.0.mlp.up_proj", "w4g32-a8t", 0.25, 0.001, 2048, 1024, 244.0},
             {"lm_head", "w8c-a8t", 0.125, 0.001, 4096, -1024, std::nullopt},
             {"cache", "", 0.0, 0.0, 0, std::nullopt, std::nullopt}};
  f.interaction = 0.125;
  f.notes = {"a <note>"};
  f.provenance = {{"program", "fptq"}};
  return f;
}

TEST(ExplanationTable, EndsWithTheTotal) {
  const Table table = budget_table(figures());
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(table.rows[0],
            (std::vector<std::string>{"weights", "0.500", "100.0 %", "0.750", "0.250"}));
  EXPECT_EQ(table.rows[1], (std::vector<std::string>{"cache", "0", "0.0 %", "-0.250", "0.250"}));
  EXPECT_EQ(table.rows[2][0], "total");
}

TEST(ExplanationTable, AddsUpTheOthers) {
  const Table all = parts_table(figures());
  ASSERT_EQ(all.rows.size(), 5U);
  EXPECT_EQ(all.rows[0], (std::vector<std::string>{"model.layers.0.mlp.up_proj", "w4g32-a8t",
                                                   "0.250 \u00B1 0.00100", "50.0 %", "2.00 KiB",
                                                   "+1.00 KiB", "244"}));
  EXPECT_EQ(all.rows[1][5], "-1.00 KiB");
  EXPECT_EQ(all.rows[2][5], "");
  const Table first = parts_table(figures(), 1);
  ASSERT_EQ(first.rows.size(), 4U);
  EXPECT_EQ(first.rows[1][0], "2 others");
  EXPECT_EQ(first.rows[1][2], "0.125");
  EXPECT_EQ(first.rows[2][0], "interaction");
}

TEST(ExplanationPage, EscapesAndNeedsNothingElse) {
  const std::string page = explanation_html(figures());
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_NE(page.find("KL(base&lt; || out)"), std::string::npos);
  EXPECT_NE(page.find("a &lt;note&gt;"), std::string::npos);
  EXPECT_NE(page.find("<rect"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos);
}

}  // namespace
}  // namespace fptq::report
