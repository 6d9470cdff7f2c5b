// The part of YAML that recipes and tasks need, read strictly: mappings, sequences and plain
// values.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fptq {

// One value of a YAML document, and where it stands, for messages.
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };

  Kind kind = Kind::kNull;
  std::string scalar;             // kScalar
  std::vector<std::string> keys;  // kMapping: unique, in file order; items[i] is that of keys[i]
  std::vector<YamlNode> items;    // kSequence, kMapping
  std::size_t line = 0;           // from 1
  std::size_t column = 0;         // from 1

  // "mapping", for messages.
  [[nodiscard]] std::string_view kind_name() const;
  // "WHERE: line 3, column 9".
  [[nodiscard]] std::string place(const std::string& where) const;
  // "WHERE: line 3, column 9: MESSAGE" as a kFormat error.
  [[nodiscard]] Error error(const std::string& where, const std::string& message) const;
};

// Reads one document. `where` begins every message.
//
// Errors: kFormat with line and column for text that is not YAML, a key twice in one mapping, a
// key that is not a plain value, anchors and aliases (a few lines of them can stand for gigabytes),
// explicit tags, a second document, and nesting deeper than 8 levels; kLimit above 64 KiB.
[[nodiscard]] Result<YamlNode> parse_yaml(std::string_view text, const std::string& where);

}  // namespace fptq
