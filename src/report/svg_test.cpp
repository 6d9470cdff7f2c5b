#include "report/svg.h"

#include <gtest/gtest.h>

#include <limits>

namespace fptq::report {
namespace {

TEST(BarChart, DrawsBarsToScaleWithErrorBars) {
  const std::string chart =
      bar_chart("t", {{"a", 10.0, std::nullopt, "10", true}, {"b", 4.0, 1.0, "4", false}});
  // The plot is 310 wide and the largest value 10.
  EXPECT_NE(chart.find("width=\"310.0\" height=\"16.0\" class=\"bar baseline\""),
            std::string::npos);
  EXPECT_NE(chart.find("width=\"124.0\" height=\"16.0\" class=\"bar\""), std::string::npos);
  EXPECT_NE(chart.find("<line x1=\"93.0\" y1=\"70.0\" x2=\"155.0\" y2=\"70.0\" class=\"error\"/>"),
            std::string::npos);
}

TEST(BarChart, DrawsNoBarForValuesThatAreNoNumbers) {
  const std::string chart =
      bar_chart("t", {{"a", std::numeric_limits<double>::infinity(), std::nullopt, "inf", false}});
  EXPECT_EQ(chart.find("<rect"), std::string::npos);
  EXPECT_NE(chart.find(">inf</text>"), std::string::npos);
}

TEST(BarChart, EscapesAndShortensLabels) {
  const std::string chart = bar_chart(
      "<t>", {{std::string(40, 'x') + "/path/to/some/model/<out>", 1.0, std::nullopt, "1", false}});
  EXPECT_EQ(chart.find("<t>"), std::string::npos);
  EXPECT_NE(chart.find(">\u2026" + std::string(26, 'x') + "/path/to/some/model/&lt;out&gt;<"),
            std::string::npos);
}

TEST(RangeChart, PlacesMarksOnALogarithmicScale) {
  const std::string chart = range_chart("t", {{"m", {{"median", 0.01}, {"max", 1.0}}}});
  // Powers 0.01, 0.1 and 1 over 392 units from 24 on.
  EXPECT_NE(chart.find("<circle cx=\"24.0\""), std::string::npos);
  EXPECT_NE(chart.find("<circle cx=\"416.0\""), std::string::npos);
  EXPECT_NE(chart.find("<line x1=\"220.0\""), std::string::npos);
}

TEST(RangeChart, HasNoPlaceForZero) {
  EXPECT_EQ(range_chart("t", {{"m", {{"median", 0.0}}}}).find("<circle"), std::string::npos);
}

}  // namespace
}  // namespace fptq::report
