#include "report/svg.h"

#include <algorithm>
#include <cmath>

#include "report/format.h"

namespace fptq::report {
namespace {

// In units of the view box; the page scales it to the width it has.
constexpr double kWidth = 720.0;
constexpr double kLabelWidth = 220.0;
constexpr double kTextWidth = 130.0;
constexpr double kPlotWidth = kWidth - kLabelWidth - kTextWidth;
constexpr double kRowHeight = 30.0;
constexpr double kBarHeight = 16.0;
constexpr std::size_t kMostLabelBytes = 26;

std::string number(double value) {
  return fixed(value, 1);
}

// A label that fits: the end of a path tells more than its beginning.
std::string shortened(const std::string& label) {
  if (label.size() <= kMostLabelBytes) return label;
  std::size_t begin = label.size() - kMostLabelBytes + 1;
  while (begin < label.size() && (static_cast<unsigned char>(label[begin]) & 0xC0) == 0x80) ++begin;
  return "\u2026" + label.substr(begin);
}

std::string text_at(double x, double y, const char* anchor, const char* css_class,
                    const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor +
         "\" class=\"" + css_class + "\">" + escape_html(text) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* css_class) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
         "\" y2=\"" + number(y2) + "\" class=\"" + css_class + "\"/>\n";
}

std::string row_label(const std::string& label, double y) {
  return "<g><title>" + escape_html(label) + "</title>" +
         text_at(kLabelWidth - 10.0, y + 5.0, "end", "label", shortened(label)) + "</g>\n";
}

std::string figure(const std::string& title, double height, const std::string& drawing) {
  return "<figure>\n<figcaption>" + escape_html(title) + "</figcaption>\n<svg viewBox=\"0 0 " +
         number(kWidth) + " " + number(height) + "\" role=\"img\" aria-label=\"" +
         escape_html(title) + "\">\n" + drawing + "</svg>\n</figure>\n";
}

std::string error_bar(double from, double to, double y) {
  return line(from, y, to, y, "error") + line(from, y - 4.0, from, y + 4.0, "error") +
         line(to, y - 4.0, to, y + 4.0, "error");
}

}  // namespace

std::string bar_chart(const std::string& title, const std::vector<Bar>& bars) {
  double largest = 0.0;
  for (const Bar& bar : bars) {
    if (std::isfinite(bar.value)) {
      largest = std::max(largest, bar.value + bar.error.value_or(0.0));
    }
  }
  const double scale = largest > 0.0 ? kPlotWidth / largest : 0.0;
  std::string drawing;
  double y = kRowHeight / 2.0;
  for (const Bar& bar : bars) {
    drawing += row_label(bar.label, y);
    double end = kLabelWidth;
    if (std::isfinite(bar.value)) {
      const double width = bar.value * scale;
      drawing += "<rect x=\"" + number(kLabelWidth) + "\" y=\"" + number(y - kBarHeight / 2.0) +
                 "\" width=\"" + number(width) + "\" height=\"" + number(kBarHeight) +
                 "\" rx=\"2\" class=\"" + (bar.highlighted ? "bar baseline" : "bar") + "\"/>\n";
      end += width;
      if (bar.error && std::isfinite(*bar.error)) {
        const double half = *bar.error * scale;
        drawing += error_bar(std::max(kLabelWidth, end - half), end + half, y);
        end += half;
      }
    }
    drawing += text_at(end + 8.0, y + 5.0, "start", "value", bar.text);
    y += kRowHeight;
  }
  drawing += line(kLabelWidth, 0.0, kLabelWidth, y - kRowHeight / 2.0, "axis");
  return figure(title, y - kRowHeight / 2.0, drawing);
}

std::string range_chart(const std::string& title, const std::vector<Range>& ranges) {
  constexpr double kHeaderHeight = 26.0;
  double smallest = 1e300;
  double largest = 0.0;
  for (const Range& range : ranges) {
    for (const Mark& mark : range.marks) {
      if (!(mark.value > 0.0) || !std::isfinite(mark.value)) continue;
      smallest = std::min(smallest, mark.value);
      largest = std::max(largest, mark.value);
    }
  }
  if (largest == 0.0)
    return figure(title, kRowHeight, row_label("all values are 0", kRowHeight / 2));
  const double first_power = std::floor(std::log10(smallest));
  const double last_power = std::max(first_power + 1.0, std::ceil(std::log10(largest)));
  const double right_margin = 30.0;
  const double plot_width = kWidth - kLabelWidth - right_margin;
  const auto place = [&](double value) {
    return kLabelWidth +
           (std::log10(value) - first_power) / (last_power - first_power) * plot_width;
  };

  const double height = kHeaderHeight + 1.5 * kRowHeight * static_cast<double>(ranges.size());
  std::string drawing;
  for (double power = first_power; power <= last_power; power += 1.0) {
    const double value = std::pow(10.0, power);
    drawing += line(place(value), kHeaderHeight - 8.0, place(value), height, "grid");
    drawing += text_at(place(value), kHeaderHeight - 12.0, "middle", "tick", significant(value, 1));
  }
  double y = kHeaderHeight + kRowHeight * 0.75;
  for (const Range& range : ranges) {
    drawing += row_label(range.label, y);
    double previous = -1e300;
    double from = 0.0;
    double to = 0.0;
    std::string marks;
    for (const Mark& mark : range.marks) {
      if (!(mark.value > 0.0) || !std::isfinite(mark.value)) continue;
      const double x = place(mark.value);
      if (from == 0.0) from = x;
      to = x;
      marks += "<circle cx=\"" + number(x) + "\" cy=\"" + number(y) +
               "\" r=\"4.5\" class=\"mark\"><title>" + escape_html(mark.name) + ": " +
               significant(mark.value, 3) + "</title></circle>\n";
      // Names of neighbours that are too close go above the line.
      const bool crowded = x - previous < 44.0;
      marks += text_at(x, crowded ? y - 8.0 : y + 17.0, "middle", "tick", mark.name);
      previous = crowded ? -1e300 : x;
    }
    drawing += line(from, y, to, y, "range") + marks;
    y += 1.5 * kRowHeight;
  }
  return figure(title, height, drawing);
}

}  // namespace fptq::report
