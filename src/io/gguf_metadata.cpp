#include "io/gguf_metadata.h"

namespace fptq::io {

Error GgufMetadata::error(std::string_view key, const std::string& what) const {
  return Error{Error::Kind::kFormat,
               where_ + ": metadata key \"" + std::string(key) + "\": " + what};
}

Result<std::optional<std::uint64_t>> GgufMetadata::size(std::string_view key) const {
  const GgufValue* value = file_.find(key);
  if (value == nullptr) return std::optional<std::uint64_t>();
  if (const auto* number = std::get_if<std::uint64_t>(&value->value)) return std::optional(*number);
  if (const auto* array = std::get_if<GgufArray>(&value->value);
      array != nullptr && array->type != GgufType::kString && array->type != GgufType::kFloat32 &&
      array->type != GgufType::kFloat64) {
    // Some writers give a number per layer. Layers of different sizes are no Llama model.
    for (std::size_t i = 0; i < array->count; ++i) {
      if (array->integer(i) != array->integer(0) || array->integer(i) < 0) {
        return Error{Error::Kind::kUnsupported,
                     error(key, "values that differ between layers are not supported").message};
      }
    }
    if (array->count != 0) {
      return std::optional(static_cast<std::uint64_t>(array->integer(0)));
    }
  }
  return error(key, "expected an integer >= 0, got " + std::string(gguf_type_name(value->type)));
}

Result<std::uint64_t> GgufMetadata::required_size(std::string_view key) const {
  FPTQ_TRY(const auto value, size(key));
  if (!value) return error(key, "expected it in the file, got none");
  return *value;
}

Result<std::optional<double>> GgufMetadata::real(std::string_view key) const {
  const GgufValue* value = file_.find(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* number = std::get_if<double>(&value->value)) return std::optional(*number);
  return error(key, "expected a float, got " + std::string(gguf_type_name(value->type)));
}

Result<std::optional<bool>> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = file_.find(key);
  if (value == nullptr) return std::optional<bool>();
  if (const auto* truth = std::get_if<bool>(&value->value)) return std::optional(*truth);
  return error(key, "expected a bool, got " + std::string(gguf_type_name(value->type)));
}

Result<std::optional<std::string>> GgufMetadata::text(std::string_view key) const {
  const GgufValue* value = file_.find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (const auto* text = std::get_if<std::string_view>(&value->value)) {
    return std::optional(std::string(*text));
  }
  return error(key, "expected a string, got " + std::string(gguf_type_name(value->type)));
}

Result<const GgufArray*> GgufMetadata::array(std::string_view key) const {
  const GgufValue* value = file_.find(key);
  if (value == nullptr) return static_cast<const GgufArray*>(nullptr);
  if (const auto* array = std::get_if<GgufArray>(&value->value)) return array;
  return error(key, "expected an array, got " + std::string(gguf_type_name(value->type)));
}

Result<std::vector<std::string>> GgufMetadata::texts(std::string_view key) const {
  FPTQ_TRY(const GgufArray* found, array(key));
  if (found == nullptr) return std::vector<std::string>();
  if (found->type != GgufType::kString) {
    return error(key,
                 "expected strings, got an array of " + std::string(gguf_type_name(found->type)));
  }
  return std::vector<std::string>(found->strings.begin(), found->strings.end());
}

Result<std::vector<float>> GgufMetadata::reals(std::string_view key) const {
  FPTQ_TRY(const GgufArray* found, array(key));
  std::vector<float> values;
  if (found == nullptr) return values;
  if (found->type != GgufType::kFloat32) {
    return error(key, "expected float32 numbers, got an array of " +
                          std::string(gguf_type_name(found->type)));
  }
  for (std::size_t i = 0; i < found->count; ++i) {
    values.push_back(static_cast<float>(found->real(i)));
  }
  return values;
}

Result<std::vector<std::int32_t>> GgufMetadata::integers(std::string_view key) const {
  FPTQ_TRY(const GgufArray* found, array(key));
  std::vector<std::int32_t> values;
  if (found == nullptr) return values;
  if (found->type != GgufType::kInt32 && found->type != GgufType::kUint32) {
    return error(
        key, "expected int32 numbers, got an array of " + std::string(gguf_type_name(found->type)));
  }
  for (std::size_t i = 0; i < found->count; ++i) {
    values.push_back(static_cast<std::int32_t>(found->integer(i)));
  }
  return values;
}

}  // namespace fptq::io
