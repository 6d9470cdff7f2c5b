#include "report/svg_canvas.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "report/format.h"

namespace fptq::report {
namespace {

constexpr std::size_t kMostLabelCharacters = 44;

bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

}  // namespace

std::string coordinate(double value) {
  return fixed(value, 1);
}

std::string shortened(const std::string& label, std::size_t most) {
  std::size_t excess = characters(label);
  if (excess <= most) return label;
  std::size_t begin = 0;
  for (excess -= most - 1; excess > 0; --excess) {
    ++begin;
    while (begin < label.size() && continues_character(label[begin])) ++begin;
  }
  return "\u2026" + label.substr(begin);
}

double text_width(const std::string& text) {
  constexpr double kCharacterWidth = 7.4;
  return kCharacterWidth * static_cast<double>(characters(text));
}

std::string text_at(double x, double y, const char* anchor, const char* css_class,
                    const std::string& text) {
  return "<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" text-anchor=\"" + anchor +
         "\" class=\"" + css_class + "\">" + escape_html(text) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* css_class) {
  return "<line x1=\"" + coordinate(x1) + "\" y1=\"" + coordinate(y1) + "\" x2=\"" +
         coordinate(x2) + "\" y2=\"" + coordinate(y2) + "\" class=\"" + css_class + "\"/>\n";
}

std::string rectangle(double x, double y, double width, double height,
                      const std::string& css_class) {
  return "<rect x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" width=\"" +
         coordinate(width) + "\" height=\"" + coordinate(height) + "\" class=\"" + css_class +
         "\"/>\n";
}

std::string row_label(const std::string& label, double y) {
  std::string text =
      text_at(0.0, y + 13.0, "start", "label", shortened(label, kMostLabelCharacters));
  if (characters(label) <= kMostLabelCharacters) return text;
  return "<g><title>" + escape_html(label) + "</title>" + text + "</g>\n";
}

std::string horizontal_error(double from, double to, double y) {
  return line(from, y, to, y, "error") + line(from, y - 4.0, from, y + 4.0, "error") +
         line(to, y - 4.0, to, y + 4.0, "error");
}

std::string vertical_error(double from, double to, double x) {
  return line(x, from, x, to, "error") + line(x - 4.0, from, x + 4.0, from, "error") +
         line(x - 4.0, to, x + 4.0, to, "error");
}

std::string shape(std::size_t index, double x, double y, const std::string& css_class) {
  const auto polygon = [&](std::initializer_list<std::array<double, 2>> points) {
    std::string text = "<polygon points=\"";
    for (const auto& [dx, dy] : points) {
      text += (text.back() == '"' ? "" : " ") + coordinate(x + dx) + "," + coordinate(y + dy);
    }
    return text + "\" class=\"" + css_class + "\"/>\n";
  };
  switch (index % 5) {
    case 1:
      return rectangle(x - 5.0, y - 5.0, 10.0, 10.0, css_class);
    case 2:
      return polygon({{0.0, -7.0}, {6.5, 5.0}, {-6.5, 5.0}});
    case 3:
      return polygon({{0.0, -7.0}, {7.0, 0.0}, {0.0, 7.0}, {-7.0, 0.0}});
    case 4:
      return polygon({{0.0, 7.0}, {6.5, -5.0}, {-6.5, -5.0}});
    default:
      return "<circle cx=\"" + coordinate(x) + "\" cy=\"" + coordinate(y) +
             "\" r=\"5.5\" class=\"" + css_class + "\"/>\n";
  }
}

std::vector<Tick> ticks(double low, double high, std::size_t count) {
  const double rough = (high - low) / static_cast<double>(std::max<std::size_t>(count, 1));
  const double exponent = std::floor(std::log10(rough));
  const double power = std::pow(10.0, exponent);
  double step = 10.0 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) {
      step = factor * power;
      break;
    }
  }
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  std::vector<Tick> values;
  // Multiples of the step, so that rounding does not add up; a little more than the range for it.
  const double last = std::floor(high / step + 1e-9);
  for (double i = std::ceil(low / step - 1e-9); i <= last && values.size() < 4 * count; i += 1.0) {
    const double value = i * step + 0.0;  // + 0.0: no -0
    const bool is_long = decimals > 6 || std::abs(value) >= 1e7;
    values.push_back({value, is_long ? significant(value, 2) : fixed(value, decimals)});
  }
  return values;
}

std::string figure(const std::string& title, const std::string& description, double height,
                   const std::string& drawing) {
  return "<figure>\n<figcaption>" + escape_html(title) + "</figcaption>\n<svg viewBox=\"0 0 " +
         coordinate(kChartWidth) + " " + coordinate(height) + "\" role=\"img\" aria-label=\"" +
         escape_html(title + (description.empty() ? "" : ". " + description)) + "\">\n" + drawing +
         "</svg>\n</figure>\n";
}

}  // namespace fptq::report
