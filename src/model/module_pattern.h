// Names of modules as quantization configurations select them.

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq::model {

// Whether a pattern is a regular expression: "re:.*down_proj".
[[nodiscard]] bool is_regex_pattern(std::string_view pattern);

// Errors: kUnsupported for a regular expression that cannot be compiled, is longer than 512
// characters or repeats something more than 64 times: patterns come with the model file, and their
// cost has to be bounded.
[[nodiscard]] Status check_module_pattern(const std::string& pattern, const std::string& where);

// Whether the regular expression behind "re:" matches at the beginning of `name`; it need not
// reach the end (Python's re.match). `pattern` has passed check_module_pattern().
[[nodiscard]] bool regex_matches(const std::string& pattern, std::string_view name);

}  // namespace fptq::model
