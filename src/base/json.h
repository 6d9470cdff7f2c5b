// JSON as everything in fptq reads it: strict, with bounded depth, keys in file order.

#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq {

// Keys keep their order, so that a config.json that is read, changed and written stays readable.
// Include <nlohmann/json.hpp> where a value is used.
using Json = nlohmann::ordered_json;

// Parses strict JSON. `where` begins every message, usually a path.
//
// Errors: kFormat with line and column for text that is not JSON or not UTF-8, for an object
// with the same key twice (readers disagree about which one counts), and for nesting deeper
// than 128 levels (a parser's stack is finite).
[[nodiscard]] Result<Json> parse_json(std::string_view text, const std::string& where);

// The same of line `number`, from 1, of a file with a value a line: messages begin with
// "FILE: line NUMBER, column COLUMN".
[[nodiscard]] Result<Json> parse_json_line(std::string_view line, const std::string& file,
                                           std::size_t number);

}  // namespace fptq
