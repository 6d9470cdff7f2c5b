// Charts drawn as SVG elements for a page whose style sheet knows the classes used here. Values
// that are not finite are not drawn; their text is.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fptq::report {

struct Bar {
  std::string label;
  double value = 0.0;           // at least 0; a value that is not finite is drawn as no bar
  std::optional<double> error;  // half length of the error bar
  std::string text;             // printed beside the bar
  bool highlighted = false;     // the baseline, in another color
};

// Horizontal bars from 0 over one scale.
[[nodiscard]] std::string bar_chart(const std::string& title, const std::vector<Bar>& bars);

struct Mark {
  std::string name;    // "median", "p99"
  double value = 0.0;  // values that are not above 0 have no place on a logarithmic scale
};

struct Range {
  std::string label;
  std::vector<Mark> marks;  // ascending
};

// One line for each range from its first to its last mark, over a common logarithmic scale with
// powers of ten.
[[nodiscard]] std::string range_chart(const std::string& title, const std::vector<Range>& ranges);

struct ScatterPoint {
  std::string label;
  double x = 0.0;
  double y = 0.0;
  std::optional<std::pair<double, double>> interval;  // of y
  bool highlighted = false;
};

// Points with their labels and error bars. The scales begin where the points do, and 0 only where
// they reach it.
[[nodiscard]] std::string scatter_chart(const std::string& title, const std::string& x_name,
                                        const std::string& y_name,
                                        const std::vector<ScatterPoint>& points);

struct StackedBar {
  std::string label;
  std::vector<double> values;  // one for each kind, at least 0
  std::string text;            // printed behind the bar
};

// Bars of parts, each part with the color and the hatching of its kind, and a key below.
[[nodiscard]] std::string stacked_chart(const std::string& title,
                                        const std::vector<std::string>& kinds,
                                        const std::vector<StackedBar>& bars);

struct Strip {
  std::string label;
  std::vector<double> values;
  double median = 0.0;
  double p95 = 0.0;
  bool highlighted = false;
};

// Every value as a dot over a common scale, with median and 95th percentile marked and named.
[[nodiscard]] std::string strip_chart(const std::string& title, const std::string& unit,
                                      const std::vector<Strip>& strips);

struct Histogram {
  std::string label;
  std::vector<double> edges;        // ascending and above 0, one more than counts
  std::vector<std::size_t> counts;  // between them
  std::size_t below = 0;
  std::size_t above = 0;
};

// One histogram under the other over a common logarithmic scale; what lies outside of it is told
// in words. All have the edges of the first.
[[nodiscard]] std::string histogram_chart(const std::string& title,
                                          const std::vector<Histogram>& histograms);

}  // namespace fptq::report
