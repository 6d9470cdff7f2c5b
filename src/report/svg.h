// Charts drawn as SVG elements for a page whose style sheet knows the classes used here.

#pragma once

#include <optional>
#include <string>
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

}  // namespace fptq::report
