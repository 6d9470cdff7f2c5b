#include "model/json_fields.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace fptq::model {
namespace {

std::string number_text(double value) {
  return Json(value).dump();
}

}  // namespace

std::string shown(const Json& value) {
  constexpr std::size_t kLongest = 60;
  // The replacing handler: a message never fails because of what it quotes.
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest - 3) + "...";
  return text;
}

Result<JsonFields> JsonFields::open(const Json& object, std::string where) {
  if (!object.is_object()) {
    return Error{Error::Kind::kFormat, where + ": expected a JSON object, got " + shown(object)};
  }
  return JsonFields(object, std::move(where));
}

const Json* JsonFields::raw(std::string_view key) const {
  const auto found = object_->find(std::string(key));
  return found == object_->end() ? nullptr : &*found;
}

bool JsonFields::has(std::string_view key) const {
  const Json* value = raw(key);
  return value != nullptr && !value->is_null();
}

bool is_whole_number(const Json& value) {
  // Parsed numbers without a sign are "unsigned" to the JSON library; those that a program put
  // there, a converter's for instance, are often "integer".
  return value.is_number_unsigned() ||
         (value.is_number_integer() && value.get<std::int64_t>() >= 0);
}

Error JsonFields::unexpected(Error::Kind kind, std::string_view key,
                             const std::string& expected) const {
  const Json* value = raw(key);
  return Error{kind, where_ + ": " + std::string(key) + ": expected " + expected + ", got " +
                         (value == nullptr ? "nothing" : shown(*value))};
}

Result<std::optional<std::size_t>> JsonFields::integer(std::string_view key, std::size_t low,
                                                       std::size_t high) const {
  if (!has(key)) return std::optional<std::size_t>();
  const Json& value = *raw(key);
  if (is_whole_number(value)) {
    const auto count = value.get<std::uint64_t>();
    if (count >= low && count <= high) return std::optional<std::size_t>(count);
  }
  return unexpected(Error::Kind::kFormat, key,
                    "an integer from " + std::to_string(low) + " to " + std::to_string(high));
}

Result<std::optional<double>> JsonFields::number(std::string_view key, double low,
                                                 double high) const {
  if (!has(key)) return std::optional<double>();
  const Json& value = *raw(key);
  if (value.is_number()) {
    const auto real = value.get<double>();
    if (std::isfinite(real) && real >= low && real <= high) return std::optional<double>(real);
  }
  return unexpected(Error::Kind::kFormat, key,
                    "a number from " + number_text(low) + " to " + number_text(high));
}

Result<std::optional<bool>> JsonFields::boolean(std::string_view key) const {
  if (!has(key)) return std::optional<bool>();
  if (!raw(key)->is_boolean()) return unexpected(Error::Kind::kFormat, key, "true or false");
  return std::optional<bool>(raw(key)->get<bool>());
}

Result<std::optional<std::string>> JsonFields::text(std::string_view key) const {
  if (!has(key)) return std::optional<std::string>();
  if (!raw(key)->is_string()) return unexpected(Error::Kind::kFormat, key, "a string");
  return std::optional<std::string>(raw(key)->get<std::string>());
}

Result<std::size_t> JsonFields::required_integer(std::string_view key, std::size_t low,
                                                 std::size_t high) const {
  FPTQ_TRY(const std::optional<std::size_t> value, integer(key, low, high));
  if (value) return *value;
  return unexpected(Error::Kind::kFormat, key,
                    "an integer from " + std::to_string(low) + " to " + std::to_string(high));
}

Result<double> JsonFields::required_number(std::string_view key, double low, double high) const {
  FPTQ_TRY(const std::optional<double> value, number(key, low, high));
  if (value) return *value;
  return unexpected(Error::Kind::kFormat, key,
                    "a number from " + number_text(low) + " to " + number_text(high));
}

}  // namespace fptq::model
