// What charts are drawn with: pieces of SVG in the units of a view box that the page scales to the
// width it has. Narrow enough that its text can be read on a phone.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fptq::report {

inline constexpr double kChartWidth = 400.0;

// A coordinate, one digit after the point.
[[nodiscard]] std::string coordinate(double value);

// The end of a label where it is longer than `most` characters, which tells more of a path than its
// beginning.
[[nodiscard]] std::string shortened(const std::string& label, std::size_t most);

// About how wide `text` is in the charts' font size.
[[nodiscard]] double text_width(const std::string& text);

// anchor: "start", "middle" or "end"; text is escaped.
[[nodiscard]] std::string text_at(double x, double y, const char* anchor, const char* css_class,
                                  const std::string& text);
[[nodiscard]] std::string line(double x1, double y1, double x2, double y2, const char* css_class);
[[nodiscard]] std::string rectangle(double x, double y, double width, double height,
                                    const std::string& css_class);
// A label over the row that begins at y; all of it as a title where it had to be shortened.
[[nodiscard]] std::string row_label(const std::string& label, double y);

// From `from` to `to` with caps.
[[nodiscard]] std::string horizontal_error(double from, double to, double y);
[[nodiscard]] std::string vertical_error(double from, double to, double x);

// A shape for a series, another one for each index: circle, square, triangle, diamond, and so on
// from the beginning.
[[nodiscard]] std::string shape(std::size_t index, double x, double y,
                                const std::string& css_class);

// Numbers from `low` to `high` that are easy to read, 1, 2 or 5 times a power of ten apart;
// about `count` of them. low < high, both finite.
struct Tick {
  double value;
  std::string text;  // with as many decimals as the distance needs
};
[[nodiscard]] std::vector<Tick> ticks(double low, double high, std::size_t count);

// The chart. description: what it shows in words, for those who do not see it; text.
[[nodiscard]] std::string figure(const std::string& title, const std::string& description,
                                 double height, const std::string& drawing);

}  // namespace fptq::report
