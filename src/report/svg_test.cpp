#include "report/svg.h"

#include <gtest/gtest.h>

#include <limits>

#include "report/svg_canvas.h"

namespace fptq::report {
namespace {

TEST(BarChart, DrawsBarsToScaleWithErrorBars) {
  const std::string chart =
      bar_chart("t", {{"a", 10.0, std::nullopt, "10", true}, {"b", 4.0, 1.0, "4", false}});
  // The plot is 280 wide and the largest value 10.
  EXPECT_NE(chart.find("width=\"280.0\" height=\"16.0\" class=\"bar baseline\""),
            std::string::npos);
  EXPECT_NE(chart.find("width=\"112.0\" height=\"16.0\" class=\"bar\""), std::string::npos);
  EXPECT_NE(chart.find("<line x1=\"84.0\" y1=\"74.0\" x2=\"140.0\" y2=\"74.0\" class=\"error\"/>"),
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
  EXPECT_NE(chart.find(">\u2026" + std::string(18, 'x') + "/path/to/some/model/&lt;out&gt;<"),
            std::string::npos);
}

TEST(RangeChart, PlacesMarksOnALogarithmicScale) {
  const std::string chart = range_chart("t", {{"m", {{"median", 0.01}, {"max", 1.0}}}});
  // Powers 0.01, 0.1 and 1 over 352 units from 24 on.
  EXPECT_NE(chart.find("<circle cx=\"24.0\""), std::string::npos);
  EXPECT_NE(chart.find("<circle cx=\"376.0\""), std::string::npos);
  EXPECT_NE(chart.find("<line x1=\"200.0\""), std::string::npos);
}

TEST(RangeChart, HasNoPlaceForZero) {
  EXPECT_EQ(range_chart("t", {{"m", {{"median", 0.0}}}}).find("<circle"), std::string::npos);
}

TEST(ScatterChart, DrawsPointsTheirErrorBarsAndLabels) {
  const std::string chart =
      scatter_chart("t", "size", "ppl",
                    {{"base", 50.0, 10.0, {{9.0, 11.0}}, true}, {"out", 10.0, 12.0, {}, false}});
  EXPECT_NE(chart.find("class=\"mark baseline\""), std::string::npos);
  EXPECT_NE(chart.find("class=\"error\""), std::string::npos);
  EXPECT_NE(chart.find(">base</text>"), std::string::npos);
  EXPECT_NE(chart.find("base: 50.0, 10.00; out: 10.0, 12.00\""), std::string::npos);
  // Another shape for the second model.
  EXPECT_NE(chart.find("<circle"), std::string::npos);
  EXPECT_NE(chart.find("class=\"mark\""), std::string::npos);
}

TEST(ScatterChart, HasNoPlaceForWhatIsNoNumber) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(scatter_chart("t", "x", "y", {{"a", 1.0, nan, {}, false}}), "");
  EXPECT_EQ(scatter_chart("t", "x", "y", {}), "");
}

TEST(ScatterChart, DrawsASinglePointAndPointsThatAreTheSame) {
  for (const double value : {0.0, 1.0, -3.0}) {
    const std::string chart = scatter_chart(
        "t", "x", "y", {{"a", value, value, {}, false}, {"b", value, value, {}, false}});
    EXPECT_NE(chart.find(">b</text>"), std::string::npos);
    EXPECT_EQ(chart.find("nan"), std::string::npos);
  }
}

TEST(StackedChart, TellsKindsByHatchingAsWell) {
  const std::string chart =
      stacked_chart("t", {"embedding", "linears"}, {{"m", {3.0, 1.0}, "4 MiB"}});
  // 310 units for 4: the bar, and two patches of the key.
  EXPECT_NE(chart.find("width=\"232.5\" height=\"22.0\" class=\"part k0\""), std::string::npos);
  EXPECT_NE(chart.find("width=\"77.5\" height=\"22.0\" class=\"part k1\""), std::string::npos);
  EXPECT_NE(chart.find("class=\"hatch\""), std::string::npos);
  EXPECT_NE(chart.find(">linears</text>"), std::string::npos);
}

TEST(StripChart, NamesMedianAndP95) {
  const std::string chart = strip_chart("t", "ms", {{"m", {1.0, 2.0, 9.0}, 2.0, 8.0, false}});
  EXPECT_NE(chart.find(">median 2.00 ms, p95 8.00 ms</text>"), std::string::npos);
  EXPECT_NE(chart.find("class=\"median\""), std::string::npos);
  EXPECT_EQ(strip_chart("t", "ms", {}), "");
}

TEST(HistogramChart, SaysWhatLiesOutside) {
  const std::string chart = histogram_chart("t", {{"m", {0.1, 1.0, 10.0}, {1, 4}, 2, 3}});
  EXPECT_NE(chart.find(">10 positions, 2 below and 3 above the scale</text>"), std::string::npos);
  EXPECT_NE(chart.find("the fullest bin from 1.0 to 10"), std::string::npos);
  EXPECT_NE(chart.find("height=\"66.0\" class=\"bar\""), std::string::npos);
  EXPECT_NE(chart.find("height=\"16.5\" class=\"bar\""), std::string::npos);
  EXPECT_EQ(histogram_chart("t", {}), "");
}

TEST(Ticks, AreMultiplesOfOneTwoOrFive) {
  std::vector<std::string> texts;
  for (const Tick& tick : ticks(-0.05, 0.22, 5)) texts.push_back(tick.text);
  EXPECT_EQ(texts, (std::vector<std::string>{"0.0", "0.1", "0.2"}));
  texts.clear();
  for (const Tick& tick : ticks(3.4, 5.1, 5)) texts.push_back(tick.text);
  EXPECT_EQ(texts, (std::vector<std::string>{"3.5", "4.0", "4.5", "5.0"}));
}

}  // namespace
}  // namespace fptq::report
