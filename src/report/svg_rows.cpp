// Charts of several rows over one scale: parts, strips of dots, histograms.

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/svg.h"
#include "report/svg_canvas.h"

namespace fptq::report {
namespace {

constexpr double kLabelHeight = 20.0;
constexpr std::size_t kPatterns = 5;

std::string kind_class(std::size_t kind) {
  return "part k" + std::to_string(kind % kPatterns);
}

// Lines over a part that tell its kind without its color: none, upright, level, both, broken level.
std::string hatching(std::size_t kind, double x, double y, double width, double height) {
  constexpr double kGap = 5.0;
  const std::size_t pattern = kind % kPatterns;
  std::string path;
  if (pattern == 1 || pattern == 3) {
    for (double dx = kGap; dx < width - 1.0; dx += kGap) {
      path += "M" + coordinate(x + dx) + " " + coordinate(y) + "v" + coordinate(height);
    }
  }
  if (pattern >= 2) {
    for (double dy = kGap - 1.0; dy < height - 1.0; dy += kGap) {
      path += "M" + coordinate(x) + " " + coordinate(y + dy) + "h" + coordinate(width);
    }
  }
  if (path.empty()) return "";
  return "<path d=\"" + path + "\" class=\"hatch\"" +
         (pattern == 4 ? " stroke-dasharray=\"3 3\"" : "") + "/>\n";
}

std::string part(std::size_t kind, double x, double y, double width, double height) {
  return rectangle(x, y, width, height, kind_class(kind)) + hatching(kind, x, y, width, height);
}

double sum_of_finite(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) {
    if (std::isfinite(value)) sum += value;
  }
  return sum;
}

// A key of two columns.
std::string kinds_key(const std::vector<std::string>& kinds, double y) {
  std::string drawing;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const double x = i % 2 == 0 ? 0.0 : kChartWidth / 2.0;
    const std::size_t row = i / 2;
    const double top = y + 24.0 * static_cast<double>(row);
    drawing += part(i, x, top, 26.0, 16.0) +
               text_at(x + 34.0, top + 13.0, "start", "label", shortened(kinds[i], 24));
  }
  return drawing;
}

// The axis of a linear scale from 0 at `y`.
std::string linear_axis(double largest, double width, double top, double y) {
  std::string drawing;
  for (const auto& [value, text] : ticks(0.0, largest, 5)) {
    const double x = 10.0 + value / largest * width;
    drawing += line(x, top, x, y, "grid") + text_at(x, y + 15.0, "middle", "tick", text);
  }
  return drawing;
}

}  // namespace

std::string stacked_chart(const std::string& title, const std::vector<std::string>& kinds,
                          const std::vector<StackedBar>& bars) {
  constexpr double kRowHeight = 50.0;
  constexpr double kBarHeight = 22.0;
  constexpr double kPlotWidth = kChartWidth - 90.0;
  double largest = 0.0;
  for (const StackedBar& bar : bars) largest = std::max(largest, sum_of_finite(bar.values));
  const double scale = largest > 0.0 ? kPlotWidth / largest : 0.0;
  std::string drawing;
  std::string description;
  double y = 0.0;
  for (const StackedBar& bar : bars) {
    drawing += row_label(bar.label, y);
    description += (description.empty() ? "" : "; ") + bar.label + ": " + bar.text;
    double x = 0.0;
    for (std::size_t i = 0; i < bar.values.size(); ++i) {
      if (!(bar.values[i] > 0.0) || !std::isfinite(bar.values[i])) continue;
      const double width = bar.values[i] * scale;
      drawing += part(i, x, y + kLabelHeight, width, kBarHeight);
      x += width;
    }
    drawing += text_at(x + 8.0, y + kLabelHeight + 16.0, "start", "value", bar.text);
    y += kRowHeight;
  }
  drawing += kinds_key(kinds, y + 2.0);
  const std::size_t key_rows = (kinds.size() + 1) / 2;
  return figure(title, description, y + 24.0 * static_cast<double>(key_rows), drawing);
}

std::string strip_chart(const std::string& title, const std::string& unit,
                        const std::vector<Strip>& strips) {
  constexpr double kRowHeight = 76.0;
  constexpr double kWidth = kChartWidth - 20.0;
  double largest = 0.0;
  for (const Strip& strip : strips) {
    for (const double value : strip.values) {
      if (std::isfinite(value)) largest = std::max(largest, value);
    }
  }
  if (!(largest > 0.0)) return "";
  const auto place = [&](double value) {
    return 10.0 + std::clamp(value / largest, 0.0, 1.0) * kWidth;
  };
  const double bottom = kRowHeight * static_cast<double>(strips.size());
  std::string drawing = linear_axis(largest, kWidth, 0.0, bottom);
  std::string description;
  double y = 0.0;
  for (const Strip& strip : strips) {
    const std::string numbers = "median " + significant(strip.median, 3) + " " + unit + ", p95 " +
                                significant(strip.p95, 3) + " " + unit;
    drawing += row_label(strip.label, y) + text_at(0.0, y + 29.0, "start", "tick", numbers);
    description += (description.empty() ? "" : "; ") + strip.label + ": " + numbers;
    const double middle = y + 50.0;
    for (std::size_t i = 0; i < strip.values.size(); ++i) {
      if (!std::isfinite(strip.values[i])) continue;
      // Spread over the height in a fixed pattern, so that equal values stay visible.
      const double shift = static_cast<double>(i * 7 % 13) - 6.0;
      drawing += "<circle cx=\"" + coordinate(place(strip.values[i])) + "\" cy=\"" +
                 coordinate(middle + shift) + "\" r=\"2.5\" class=\"dot" +
                 (strip.highlighted ? " baseline" : "") + "\"/>\n";
    }
    if (std::isfinite(strip.median)) {
      drawing +=
          line(place(strip.median), middle - 13.0, place(strip.median), middle + 13.0, "median");
    }
    if (std::isfinite(strip.p95)) {
      drawing += shape(4, place(strip.p95), middle - 11.0, "mark");
    }
    y += kRowHeight;
  }
  drawing += text_at(kChartWidth, bottom + 32.0, "end", "tick",
                     "| median, \u25BC p95; " + unit + " \u2192");
  return figure(title, description, bottom + 38.0, drawing);
}

std::string histogram_chart(const std::string& title, const std::vector<Histogram>& histograms) {
  constexpr double kRowHeight = 112.0;
  constexpr double kBarsTop = 38.0;
  constexpr double kBarsBottom = 104.0;
  constexpr double kMargin = 20.0;
  if (histograms.empty() || histograms.front().edges.size() < 2) return "";
  const std::vector<double>& edges = histograms.front().edges;
  const double low = std::log10(edges.front());
  const double high = std::log10(edges.back());
  const auto place = [&](double value) {
    return kMargin + (std::log10(value) - low) / (high - low) * (kChartWidth - 2.0 * kMargin);
  };
  const double bottom = kRowHeight * static_cast<double>(histograms.size());
  std::string drawing;
  for (double power = std::ceil(low); power <= high + 1e-9; power += 1.0) {
    const double x = place(std::pow(10.0, power));
    drawing += line(x, 0.0, x, bottom, "grid") +
               text_at(x, bottom + 15.0, "middle", "tick", significant(std::pow(10.0, power), 1));
  }
  std::string description;
  double y = 0.0;
  for (const Histogram& histogram : histograms) {
    const std::size_t bins = std::min(histogram.counts.size(), edges.size() - 1);
    std::size_t total = histogram.below + histogram.above;
    std::size_t most = 1;
    std::size_t peak = 0;
    for (std::size_t b = 0; b < bins; ++b) {
      total += histogram.counts[b];
      if (histogram.counts[b] > most) {
        most = histogram.counts[b];
        peak = b;
      }
    }
    const std::string numbers = std::to_string(total) + " positions, " +
                                std::to_string(histogram.below) + " below and " +
                                std::to_string(histogram.above) + " above the scale";
    description += (description.empty() ? "" : "; ") + histogram.label + ": " + numbers +
                   ", the fullest bin from " + significant(edges[peak], 2) + " to " +
                   significant(edges[peak + 1], 2);
    drawing += row_label(histogram.label, y) + text_at(0.0, y + 30.0, "start", "tick", numbers);
    for (std::size_t b = 0; b < bins; ++b) {
      if (histogram.counts[b] == 0) continue;
      const double height = (kBarsBottom - kBarsTop) * static_cast<double>(histogram.counts[b]) /
                            static_cast<double>(most);
      drawing += rectangle(place(edges[b]) + 0.5, y + kBarsBottom - height,
                           place(edges[b + 1]) - place(edges[b]) - 1.0, height, "bar");
    }
    drawing += line(kMargin, y + kBarsBottom, kChartWidth - kMargin, y + kBarsBottom, "axis");
    y += kRowHeight;
  }
  return figure(title, description, bottom + 20.0, drawing);
}

}  // namespace fptq::report
