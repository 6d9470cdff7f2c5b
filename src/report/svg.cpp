#include "report/svg.h"

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/svg_canvas.h"

namespace fptq::report {
namespace {

constexpr double kTextWidth = 120.0;  // behind a bar
constexpr double kPlotWidth = kChartWidth - kTextWidth;
constexpr double kRowHeight = 46.0;
constexpr double kLabelHeight = 20.0;
constexpr double kBarHeight = 16.0;

}  // namespace

std::string bar_chart(const std::string& title, const std::vector<Bar>& bars) {
  double largest = 0.0;
  for (const Bar& bar : bars) {
    if (!std::isfinite(bar.value)) continue;
    const bool has_error = bar.error && std::isfinite(*bar.error);
    largest = std::max(largest, bar.value + (has_error ? *bar.error : 0.0));
  }
  const double scale = largest > 0.0 ? kPlotWidth / largest : 0.0;
  std::string drawing;
  std::string description;
  double y = 0.0;
  for (const Bar& bar : bars) {
    drawing += row_label(bar.label, y);
    description += (description.empty() ? "" : "; ") + bar.label + ": " + bar.text;
    const double middle = y + kLabelHeight + kBarHeight / 2.0;
    double end = 0.0;
    if (std::isfinite(bar.value)) {
      end = bar.value * scale;
      drawing += rectangle(0.0, y + kLabelHeight, end, kBarHeight,
                           bar.highlighted ? "bar baseline" : "bar");
      if (bar.error && std::isfinite(*bar.error)) {
        const double half = *bar.error * scale;
        drawing += horizontal_error(std::max(0.0, end - half), end + half, middle);
        end += half;
      }
    }
    drawing += text_at(end + 8.0, middle + 5.0, "start", "value", bar.text);
    y += kRowHeight;
  }
  return figure(title, description, std::max(y - 6.0, 1.0), drawing);
}

std::string range_chart(const std::string& title, const std::vector<Range>& ranges) {
  constexpr double kHeaderHeight = 26.0;
  constexpr double kRangeHeight = 58.0;
  constexpr double kMargin = 24.0;
  double smallest = 1e300;
  double largest = 0.0;
  for (const Range& range : ranges) {
    for (const Mark& mark : range.marks) {
      if (!(mark.value > 0.0) || !std::isfinite(mark.value)) continue;
      smallest = std::min(smallest, mark.value);
      largest = std::max(largest, mark.value);
    }
  }
  if (largest == 0.0) return figure(title, "", kRowHeight, row_label("all values are 0", 0.0));
  const double first_power = std::floor(std::log10(smallest));
  const double last_power = std::max(first_power + 1.0, std::ceil(std::log10(largest)));
  const auto place = [&](double value) {
    return kMargin + (std::log10(value) - first_power) / (last_power - first_power) *
                         (kChartWidth - 2.0 * kMargin);
  };

  const double height = kHeaderHeight + kRangeHeight * static_cast<double>(ranges.size());
  std::string drawing;
  std::string description;
  for (double power = first_power; power <= last_power; power += 1.0) {
    const double value = std::pow(10.0, power);
    drawing += line(place(value), kHeaderHeight - 8.0, place(value), height, "grid");
    drawing += text_at(place(value), kHeaderHeight - 12.0, "middle", "tick", significant(value, 1));
  }
  double top = kHeaderHeight;
  for (const Range& range : ranges) {
    drawing += row_label(range.label, top);
    description += (description.empty() ? "" : "; ") + range.label + ":";
    const double y = top + 32.0;
    double previous = -1e300;
    double from = -1.0;
    double to = -1.0;
    std::string marks;
    for (const Mark& mark : range.marks) {
      description += " " + mark.name + " " + significant(mark.value, 3);
      if (!(mark.value > 0.0) || !std::isfinite(mark.value)) continue;
      const double x = place(mark.value);
      if (from < 0.0) from = x;
      to = x;
      marks += "<circle cx=\"" + coordinate(x) + "\" cy=\"" + coordinate(y) +
               "\" r=\"4.5\" class=\"mark\"><title>" + escape_html(mark.name) + ": " +
               significant(mark.value, 3) + "</title></circle>\n";
      // Names of neighbours that are too close go above the line.
      const bool crowded = x - previous < 44.0;
      marks += text_at(x, crowded ? y - 8.0 : y + 17.0, "middle", "tick", mark.name);
      previous = crowded ? -1e300 : x;
    }
    if (from >= 0.0) drawing += line(from, y, to, y, "range");
    drawing += marks;
    top += kRangeHeight;
  }
  return figure(title, description, height, drawing);
}

}  // namespace fptq::report
