#include "report/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fptq::report {

std::string fixed(double value, int decimals) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0.0 ? "-inf" : "inf";
  // The longest double has 309 digits before the point.
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), "%.*f", std::clamp(decimals, 0, 17), value);
  return text.data();
}

std::string significant(double value, int digits) {
  if (value == 0.0 || !std::isfinite(value)) return fixed(value, 0);
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.*e", std::clamp(digits - 1, 0, 17), value);
  // Of the rounded value: 9.996 has as many digits before the point as 10.0.
  const int exponent = std::atoi(std::strchr(text.data(), 'e') + 1);
  if (exponent < -4 || exponent >= 7) return text.data();
  return fixed(value, std::max(0, digits - 1 - exponent));
}

std::string signed_percent(double percent) {
  return (percent < 0.0 ? "" : "+") + fixed(percent, 2) + " %";
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  return (unit == 0 ? fixed(value, 0) : significant(value, 3)) + " " + kUnits[unit];
}

std::string escape_html(const std::string& text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else if (c == '\'') {
      escaped += "&#39;";
    } else if ((byte < 0x20 && c != '\t' && c != '\n') || byte == 0x7F) {
      escaped += "\uFFFD";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace fptq::report
