#include "report/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/utf8.h"

namespace fptq::report {
namespace {

// Of a UTF-8 sequence that begins with `first`; 0 where none does.
std::size_t sequence_bytes(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

// sequence: one well-formed UTF-8 sequence.
char32_t code_point(std::string_view sequence) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 1) return byte(0);
  // The first byte of n has its low 7 - n bits for the value.
  char32_t value = byte(0) & (0x7FU >> sequence.size());
  for (std::size_t i = 1; i < sequence.size(); ++i) value = (value << 6U) | (byte(i) & 0x3FU);
  return value;
}

// Whether a character does something instead of being seen: controls and marks of direction.
bool is_acting(char32_t c) {
  if (c < 0x20) return c != '\t' && c != '\n';
  if (c >= 0x7F && c < 0xA0) return true;
  return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

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

std::string printable(const std::string& text) {
  std::string kept;
  kept.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = sequence_bytes(static_cast<unsigned char>(text[at]));
    const std::string_view sequence = std::string_view(text).substr(at, bytes);
    const bool is_valid = bytes > 0 && !invalid_utf8_at(sequence);
    if (is_valid && !is_acting(code_point(sequence))) {
      kept += sequence;
    } else {
      kept += "\uFFFD";
    }
    at += is_valid ? bytes : 1;
  }
  return kept;
}

std::string escape_html(const std::string& text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : printable(text)) {
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
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string escape_markdown(const std::string& text) {
  std::string escaped;
  for (const char c : printable(text)) {
    if (c == '\n' || c == '\t') {
      escaped += ' ';
    } else if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else {
      if (std::strchr("\\`*_[]|#~", c) != nullptr) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace fptq::report
