// Typed, range-checked reading of a configuration's keys.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace fptq::model {

// Whether the value is an integer that is not negative.
[[nodiscard]] bool is_whole_number(const Json& value);

// One JSON object of a configuration file, whose every value is untrusted. A key that is absent or
// null reads as nothing; a value of another type or out of range is a kFormat error
// "where: key: expected X, got Y".
class JsonFields {
 public:
  // `where` begins every message: "DIR/config.json", "DIR/config.json: rope_parameters".
  // Errors: kFormat where `object` is not an object.
  [[nodiscard]] static Result<JsonFields> open(const Json& object, std::string where);

  // The value, null included; nothing where the key is absent.
  [[nodiscard]] const Json* raw(std::string_view key) const;
  // Whether the key is there and not null.
  [[nodiscard]] bool has(std::string_view key) const;

  // An integer in [low, high]. 4096.0 is not an integer.
  [[nodiscard]] Result<std::optional<std::size_t>> integer(std::string_view key, std::size_t low,
                                                           std::size_t high) const;
  // A finite number in [low, high].
  [[nodiscard]] Result<std::optional<double>> number(std::string_view key, double low,
                                                     double high) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(std::string_view key) const;
  [[nodiscard]] Result<std::optional<std::string>> text(std::string_view key) const;

  // The same where the key is required: kFormat "where: key: expected ..., got nothing".
  [[nodiscard]] Result<std::size_t> required_integer(std::string_view key, std::size_t low,
                                                     std::size_t high) const;
  [[nodiscard]] Result<double> required_number(std::string_view key, double low, double high) const;

  // "where: key: expected EXPECTED, got VALUE" with the value as JSON, shortened.
  [[nodiscard]] Error unexpected(Error::Kind kind, std::string_view key,
                                 const std::string& expected) const;

  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] const Json& object() const { return *object_; }

 private:
  JsonFields(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  const Json* object_;
  std::string where_;
};

// A JSON value as messages show it: at most 60 bytes.
[[nodiscard]] std::string shown(const Json& value);

}  // namespace fptq::model
