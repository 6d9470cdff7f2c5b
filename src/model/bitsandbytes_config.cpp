#include "model/bitsandbytes_config.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/json_fields.h"
#include "numeric/code_table.h"

namespace fptq::model {
namespace {

constexpr std::size_t kLargestAxis = std::size_t{1} << 32;
// The text is about 170 bytes long.
constexpr std::size_t kLargestState = 4096;
constexpr double kLargestFloat = 3.4028234663852886e38;

Status check_flag(const JsonFields& fields, std::string_view key, bool expected,
                  const std::string& text) {
  FPTQ_TRY(const std::optional<bool> value, fields.boolean(key));
  if (!value || *value == expected) return {};
  return fields.unexpected(Error::Kind::kUnsupported, key, text);
}

Result<Shape> read_shape(const JsonFields& fields) {
  const Json* axes = fields.raw("shape");
  const auto is_axis = [](const Json& axis) {
    return is_whole_number(axis) && axis.get<std::uint64_t>() >= 1 &&
           axis.get<std::uint64_t>() <= kLargestAxis;
  };
  if (axes == nullptr || !axes->is_array() || axes->size() != 2 || !is_axis((*axes)[0]) ||
      !is_axis((*axes)[1])) {
    return fields.unexpected(Error::Kind::kFormat, "shape", "[rows, columns]");
  }
  return Shape{(*axes)[0].get<std::size_t>(), (*axes)[1].get<std::size_t>()};
}

Status read_nested(const JsonFields& fields, TableState& state) {
  FPTQ_TRY(const std::optional<std::size_t> block,
           fields.integer("nested_blocksize", 1, kLargestAxis));
  if (block != kNestedBlockSize) {
    return fields.unexpected(Error::Kind::kUnsupported, "nested_blocksize",
                             std::to_string(kNestedBlockSize));
  }
  FPTQ_TRY(const std::optional<std::string> dtype, fields.text("nested_dtype"));
  if (dtype != "float32") {
    return fields.unexpected(Error::Kind::kUnsupported, "nested_dtype", "\"float32\"");
  }
  FPTQ_TRY(const double offset,
           fields.required_number("nested_offset", -kLargestFloat, kLargestFloat));
  state.nested_offset = static_cast<float>(offset);
  state.weights.double_quantized = true;
  return {};
}

}  // namespace

bool is_bitsandbytes_config(const Json& config) {
  if (!config.is_object()) return false;
  const auto method = config.find("quant_method");
  if (method != config.end() && !method->is_null()) return *method == "bitsandbytes";
  return config.contains("load_in_4bit") || config.contains("load_in_8bit");
}

Status check_bitsandbytes_config(const Json& config, const std::string& where) {
  FPTQ_TRY(const JsonFields fields, JsonFields::open(config, where));
  const std::string four_bits = "weights of 4 bits (load_in_4bit); LLM.int8 is not offered";
  for (const char* key : {"load_in_8bit", "_load_in_8bit"}) {
    FPTQ_TRY_VOID(check_flag(fields, key, false, four_bits));
  }
  for (const char* key : {"load_in_4bit", "_load_in_4bit"}) {
    FPTQ_TRY_VOID(check_flag(fields, key, true, four_bits));
  }
  if (!fields.has("load_in_4bit") && !fields.has("_load_in_4bit")) {
    return fields.unexpected(Error::Kind::kUnsupported, "load_in_4bit", "true");
  }
  FPTQ_TRY(const std::optional<std::string> type, fields.text("bnb_4bit_quant_type"));
  if (type && *type != "nf4" && *type != "fp4") {
    return fields.unexpected(Error::Kind::kUnsupported, "bnb_4bit_quant_type", "nf4 or fp4");
  }
  FPTQ_TRY(const std::optional<std::string> storage, fields.text("bnb_4bit_quant_storage"));
  if (storage && *storage != "uint8") {
    return fields.unexpected(Error::Kind::kUnsupported, "bnb_4bit_quant_storage", "uint8");
  }
  return {};
}

Result<TableState> parse_table_state(std::string_view text, CodeType type,
                                     const std::string& where) {
  if (text.size() > kLargestState) {
    return Error{Error::Kind::kFormat, where + ": expected at most " +
                                           std::to_string(kLargestState) + " bytes of JSON, got " +
                                           std::to_string(text.size())};
  }
  FPTQ_TRY(const Json json, parse_json(text, where));
  FPTQ_TRY(const JsonFields fields, JsonFields::open(json, where));
  FPTQ_TRY(const std::optional<std::string> name, fields.text("quant_type"));
  if (name != code_type_name(type)) {
    return fields.unexpected(Error::Kind::kFormat, "quant_type",
                             "\"" + std::string(code_type_name(type)) + "\" as in its name");
  }
  FPTQ_TRY(const std::size_t block, fields.required_integer("blocksize", 1, kLargestAxis));
  if (!is_table_block_size(block)) {
    return fields.unexpected(Error::Kind::kUnsupported, "blocksize",
                             "a power of two from 32 to 4096");
  }
  TableState state;
  state.weights = table_weights(type, block, /*double_quantized=*/false);
  FPTQ_TRY(state.shape, read_shape(fields));
  bool nested = false;
  for (const char* key : {"nested_blocksize", "nested_dtype", "nested_offset"}) {
    nested = nested || fields.has(key);
  }
  if (nested) FPTQ_TRY_VOID(read_nested(fields, state));
  return state;
}

}  // namespace fptq::model
