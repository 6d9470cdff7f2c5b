// Numbers as people read them.

#pragma once

#include <cstdint>
#include <string>

namespace fptq::report {

// `decimals` digits after the point; "inf" and "nan" as words.
[[nodiscard]] std::string fixed(double value, int decimals);

// About `digits` significant digits, without an exponent between 1e-4 and 1e7: 0.00123, 41.7, 812.
[[nodiscard]] std::string significant(double value, int digits);

// "+1.25 %", "-0.30 %".
[[nodiscard]] std::string signed_percent(double percent);

// Powers of 1024 with three significant digits: "512 B", "58.0 MiB", "1.07 GiB".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

// `text` without what would act on a terminal or reorder the text around it: bytes that are no
// UTF-8, control characters other than tab and line feed, and the characters that set a writing
// direction (U+061C, U+200E, U+200F, U+202A..U+202E, U+2066..U+2069) become U+FFFD.
[[nodiscard]] std::string printable(const std::string& text);

// The printable `text` for use in the text and in quoted attributes of HTML and SVG: & < > " '
// become entities.
[[nodiscard]] std::string escape_html(const std::string& text);

// The printable `text` on one line of Markdown, without markup: \ ` * _ [ ] | < > & # ~ are
// escaped, tabs and line feeds become spaces.
[[nodiscard]] std::string escape_markdown(const std::string& text);

}  // namespace fptq::report
