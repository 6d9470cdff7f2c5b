#include <algorithm>
#include <array>
#include <cmath>

#include "report/format.h"
#include "report/svg.h"
#include "report/svg_canvas.h"

namespace fptq::report {
namespace {

constexpr double kLeft = 58.0;
constexpr double kRight = kChartWidth - 16.0;
constexpr double kTop = 34.0;
constexpr double kBottom = 276.0;
constexpr double kHeight = kBottom + 46.0;

// A linear scale with room at both ends.
struct Scale {
  double low = 0.0;
  double high = 1.0;
  double from = 0.0;  // where `low` is drawn
  double to = 1.0;

  [[nodiscard]] double place(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};

Scale scale_of(double low, double high, double from, double to) {
  double room = 0.1 * (high - low);
  // One value, or several that are the same.
  if (!(room > 0.0)) room = low == 0.0 ? 1.0 : 0.1 * std::abs(low);
  // What cannot be negative does not look as if it could.
  return {low >= 0.0 ? std::max(0.0, low - room) : low - room, high + room, from, to};
}

struct Box {
  double left, top, right, bottom;
};

bool overlap(const Box& a, const Box& b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

// Puts labels beside their points, where no point or label is yet and else where the least harm is
// done: to the right.
class LabelPlacer {
 public:
  void block(double x, double y, double top, double bottom) {
    taken_.push_back({x - 8.0, y - 8.0, x + 8.0, y + 8.0});
    if (top < bottom) taken_.push_back({x - 4.0, top, x + 4.0, bottom});
  }

  std::string place(const std::string& label, double x, double y) {
    const double width = text_width(label);
    const std::array<Box, 8> wanted = {{{x + 11.0, y - 8.0, x + 11.0 + width, y + 8.0},
                                        {x - 11.0 - width, y - 8.0, x - 11.0, y + 8.0},
                                        {x + 8.0, y - 24.0, x + 8.0 + width, y - 9.0},
                                        {x + 8.0, y + 9.0, x + 8.0 + width, y + 24.0},
                                        {x - 8.0 - width, y - 24.0, x - 8.0, y - 9.0},
                                        {x - 8.0 - width, y + 9.0, x - 8.0, y + 24.0},
                                        {x - width / 2, y - 26.0, x + width / 2, y - 10.0},
                                        {x - width / 2, y + 10.0, x + width / 2, y + 26.0}}};
    const auto fits = [&](const Box& box) {
      return box.left >= 0.0 && box.right <= kChartWidth && box.top >= kTop - 10.0 &&
             box.bottom <= kBottom &&
             std::none_of(taken_.begin(), taken_.end(),
                          [&](const Box& other) { return overlap(box, other); });
    };
    const auto* found = std::find_if(wanted.begin(), wanted.end(), fits);
    Box box = found == wanted.end() ? wanted[0] : *found;
    const double excess = std::max(0.0, box.right - kChartWidth);
    box.left -= excess;
    box.right -= excess;
    taken_.push_back(box);
    // The width is an estimate: the end that is at the point stays there.
    const bool is_left = box.right <= x;
    return text_at(is_left ? box.right : box.left, (box.top + box.bottom) / 2 + 5.0,
                   is_left ? "end" : "start", "label", label);
  }

 private:
  std::vector<Box> taken_;
};

std::string axes(const Scale& x, const Scale& y, const std::string& x_name,
                 const std::string& y_name) {
  std::string drawing = text_at(0.0, 14.0, "start", "tick", y_name + " \u2191") +
                        text_at(kRight, kHeight - 8.0, "end", "tick", x_name + " \u2192");
  for (const auto& [value, text] : ticks(y.low, y.high, 5)) {
    drawing += line(kLeft, y.place(value), kRight, y.place(value), "grid") +
               text_at(kLeft - 6.0, y.place(value) + 4.0, "end", "tick", text);
  }
  for (const auto& [value, text] : ticks(x.low, x.high, 5)) {
    drawing += line(x.place(value), kBottom, x.place(value), kBottom + 5.0, "axis") +
               text_at(x.place(value), kBottom + 19.0, "middle", "tick", text);
  }
  return drawing + line(kLeft, kBottom, kRight, kBottom, "axis");
}

bool is_drawn(const ScatterPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}

// The error bar's ends, or the point itself.
std::pair<double, double> extent(const ScatterPoint& point) {
  if (!point.interval || !std::isfinite(point.interval->first) ||
      !std::isfinite(point.interval->second)) {
    return {point.y, point.y};
  }
  return {std::min(point.y, point.interval->first), std::max(point.y, point.interval->second)};
}

}  // namespace

std::string scatter_chart(const std::string& title, const std::string& x_name,
                          const std::string& y_name, const std::vector<ScatterPoint>& points) {
  double left = 1e300;
  double right = -1e300;
  double low = 1e300;
  double high = -1e300;
  std::string description = x_name + " against " + y_name;
  for (const ScatterPoint& point : points) {
    description +=
        "; " + point.label + ": " + significant(point.x, 3) + ", " + significant(point.y, 4);
    if (!is_drawn(point)) continue;
    left = std::min(left, point.x);
    right = std::max(right, point.x);
    low = std::min(low, extent(point).first);
    high = std::max(high, extent(point).second);
  }
  if (left > right) return "";
  const Scale x = scale_of(left, right, kLeft + 8.0, kRight - 8.0);
  const Scale y = scale_of(low, high, kBottom, kTop);
  std::string drawing = axes(x, y, x_name, y_name);
  LabelPlacer labels;
  for (const ScatterPoint& point : points) {
    if (!is_drawn(point)) continue;
    const auto [bottom, top] = extent(point);
    labels.block(x.place(point.x), y.place(point.y), y.place(top), y.place(bottom));
  }
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ScatterPoint& point = points[i];
    if (!is_drawn(point)) continue;
    const auto [bottom, top] = extent(point);
    if (bottom < top) drawing += vertical_error(y.place(bottom), y.place(top), x.place(point.x));
    drawing +=
        shape(i, x.place(point.x), y.place(point.y), point.highlighted ? "mark baseline" : "mark") +
        labels.place(shortened(point.label, 30), x.place(point.x), y.place(point.y));
  }
  return figure(title, description, kHeight, drawing);
}

}  // namespace fptq::report
