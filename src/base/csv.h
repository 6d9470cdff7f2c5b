// Comma-separated values (RFC 4180).

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fptq {

struct CsvRecord {
  std::vector<std::string> fields;
  std::size_t line;  // where it begins, from 1
};

// The records of a text; blank lines are none. Fields in quotes may hold commas, line feeds and
// quotes written twice; line ends are LF or CRLF.
// Errors: kFormat with the line for a quote that is not closed and for text behind a closing one.
[[nodiscard]] Result<std::vector<CsvRecord>> parse_csv(std::string_view text,
                                                       const std::string& where);

}  // namespace fptq
