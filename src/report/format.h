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

// `text` for use in the text and in quoted attributes of HTML and SVG: & < > " ' become entities,
// control characters other than tab and line feed, which XML does not allow, become U+FFFD.
[[nodiscard]] std::string escape_html(const std::string& text);

}  // namespace fptq::report
