#include "model/quant_config.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/bitsandbytes_config.h"
#include "model/json_fields.h"
#include "model/module_pattern.h"

namespace fptq::model {
namespace {

constexpr std::size_t kMostGroups = 1024;
constexpr std::size_t kMostTargets = 4096;
constexpr std::size_t kLargestGroup = std::size_t{1} << 24;

struct FormatName {
  std::string_view name;
  QuantStorage storage;
};
constexpr std::array<FormatName, 4> kFormats = {{{"pack-quantized", QuantStorage::kPacked},
                                                 {"int-quantized", QuantStorage::kInt8},
                                                 {"naive-quantized", QuantStorage::kInt8},
                                                 {"dense", QuantStorage::kFloat}}};
constexpr std::string_view kMixed = "mixed-precision";

std::optional<QuantStorage> find_format(std::string_view name) {
  for (const FormatName& format : kFormats) {
    if (format.name == name) return format.storage;
  }
  return std::nullopt;
}

Error unknown_format(const JsonFields& fields, bool mixed_allowed) {
  std::string names = "pack-quantized, int-quantized, naive-quantized";
  names += mixed_allowed ? ", dense or mixed-precision" : " or dense";
  return fields.unexpected(Error::Kind::kUnsupported, "format", names);
}

// Whether a value says nothing: null, false, or an empty list or object.
bool is_empty(const Json* value) {
  return value == nullptr || value->is_null() || (value->is_structured() && value->empty()) ||
         (value->is_boolean() && !value->get<bool>());
}

Result<Strategy> read_strategy(const JsonFields& fields) {
  FPTQ_TRY(const std::optional<std::string> name, fields.text("strategy"));
  for (const Strategy strategy :
       {Strategy::kTensor, Strategy::kChannel, Strategy::kGroup, Strategy::kToken}) {
    if (name == strategy_name(strategy)) return strategy;
  }
  return fields.unexpected(Error::Kind::kUnsupported, "strategy",
                           "tensor, channel, group or token");
}

// What weights and activations have in common: type, bits, symmetry.
Result<QuantArgs> read_common_args(const JsonFields& fields) {
  QuantArgs args;
  FPTQ_TRY(const std::optional<std::string> type, fields.text("type"));
  if (type && *type != "int") {
    return fields.unexpected(Error::Kind::kUnsupported, "type", "\"int\"");
  }
  FPTQ_TRY(const std::optional<std::size_t> bits, fields.integer("num_bits", 1, 64));
  if (bits && *bits != 4 && *bits != 8) {
    return fields.unexpected(Error::Kind::kUnsupported, "num_bits", "4 or 8");
  }
  FPTQ_TRY(const std::optional<bool> symmetric, fields.boolean("symmetric"));
  args.num_bits = static_cast<int>(bits.value_or(8));
  args.symmetric = symmetric.value_or(true);
  return args;
}

// -1 and null mean a whole row, as older files write it.
Result<std::size_t> read_group_size(const JsonFields& fields) {
  const Json* value = fields.raw("group_size");
  if (value != nullptr && value->is_number_integer() && *value == -1) return std::size_t{0};
  FPTQ_TRY(const std::optional<std::size_t> size, fields.integer("group_size", 1, kLargestGroup));
  return size.value_or(0);
}

Status check_activation_order(const JsonFields& fields) {
  const Json* order = fields.raw("actorder");
  if (is_empty(order)) return {};
  // "static" is the newer name of "weight": columns are rounded in another order, but groups stay
  // consecutive inputs.
  if (order->is_string() && (*order == "weight" || *order == "static")) return {};
  return fields.unexpected(Error::Kind::kUnsupported, "actorder",
                           "null or \"weight\" (groups of consecutive inputs)");
}

Result<QuantArgs> read_block_args(const JsonFields& fields, QuantArgs args) {
  FPTQ_TRY(const std::optional<std::string> strategy, fields.text("strategy"));
  if (strategy != strategy_name(Strategy::kBlock)) {
    return fields.unexpected(Error::Kind::kFormat, "strategy", "\"block\" with block_structure");
  }
  if (args.group_size != 0) {
    return fields.unexpected(Error::Kind::kFormat, "group_size", "null with this strategy");
  }
  const Json& sides = *fields.raw("block_structure");
  const bool one_row = sides.is_array() && sides.size() == 2 && sides[0] == 1 &&
                       sides[1].is_number_unsigned() && sides[1] >= 1 && sides[1] <= kLargestGroup;
  if (!one_row) {
    return fields.unexpected(Error::Kind::kUnsupported, "block_structure",
                             "[1, N], blocks of one row");
  }
  args.strategy = Strategy::kBlock;
  args.group_size = sides[1].get<std::size_t>();
  return args;
}

Result<QuantArgs> read_weight_args(const JsonFields& fields) {
  FPTQ_TRY(QuantArgs args, read_common_args(fields));
  FPTQ_TRY_VOID(check_activation_order(fields));
  if (!is_empty(fields.raw("dynamic"))) {
    return fields.unexpected(Error::Kind::kUnsupported, "dynamic", "false for weights");
  }
  FPTQ_TRY(args.group_size, read_group_size(fields));
  if (fields.has("block_structure")) return read_block_args(fields, args);
  if (fields.has("strategy")) {
    FPTQ_TRY(args.strategy, read_strategy(fields));
  } else if (args.group_size > 0) {
    args.strategy = Strategy::kGroup;
  } else {
    args.strategy = fields.has("group_size") ? Strategy::kChannel : Strategy::kTensor;
  }
  if (args.strategy == Strategy::kToken) {
    return fields.unexpected(Error::Kind::kUnsupported, "strategy", "tensor, channel or group");
  }
  if ((args.strategy == Strategy::kGroup) != (args.group_size > 0)) {
    return fields.unexpected(Error::Kind::kFormat, "group_size",
                             args.group_size > 0 ? "null with this strategy"
                                                 : "an integer from 1 with strategy \"group\"");
  }
  return args;
}

Result<QuantArgs> read_activation_args(const JsonFields& fields) {
  FPTQ_TRY(QuantArgs args, read_common_args(fields));
  if (args.num_bits != 8) return fields.unexpected(Error::Kind::kUnsupported, "num_bits", "8");
  const Json* dynamic = fields.raw("dynamic");
  if (dynamic != nullptr && dynamic->is_string()) {
    return fields.unexpected(Error::Kind::kUnsupported, "dynamic", "true or false");
  }
  FPTQ_TRY(const std::optional<bool> is_dynamic, fields.boolean("dynamic"));
  args.dynamic = is_dynamic.value_or(false);
  args.strategy = args.dynamic ? Strategy::kToken : Strategy::kTensor;
  if (fields.has("strategy")) {
    FPTQ_TRY(const Strategy strategy, read_strategy(fields));
    if (strategy != args.strategy) {
      return fields.unexpected(
          Error::Kind::kUnsupported, "strategy",
          args.dynamic ? "\"token\" for dynamic activations" : "\"tensor\" for static activations");
    }
  }
  return args;
}

// The module quantization of a config group; nothing where the group leaves weights alone.
Result<std::optional<ModuleQuantization>> read_group(const JsonFields& group,
                                                     std::optional<QuantStorage> default_storage) {
  if (group.has("output_activations")) {
    return group.unexpected(Error::Kind::kUnsupported, "output_activations", "null");
  }
  if (!group.has("weights")) {
    if (!group.has("input_activations")) return std::optional<ModuleQuantization>();
    return group.unexpected(Error::Kind::kUnsupported, "weights",
                            "a scheme beside input_activations");
  }
  ModuleQuantization module;
  FPTQ_TRY(const JsonFields weights,
           JsonFields::open(*group.raw("weights"), group.where() + ": weights"));
  FPTQ_TRY(module.scheme.weights, read_weight_args(weights));
  if (group.has("input_activations")) {
    FPTQ_TRY(const JsonFields activations, JsonFields::open(*group.raw("input_activations"),
                                                            group.where() + ": input_activations"));
    FPTQ_TRY(module.scheme.activations, read_activation_args(activations));
  }
  FPTQ_TRY(const std::optional<std::string> format, group.text("format"));
  std::optional<QuantStorage> storage = default_storage;
  if (format) {
    storage = find_format(*format);
    if (!storage) return unknown_format(group, false);
  }
  if (!storage) return unknown_format(group, false);
  module.storage = *storage;
  return std::optional<ModuleQuantization>(module);
}

// A list of strings, each a valid pattern.
Result<std::vector<std::string>> read_patterns(const JsonFields& fields, std::string_view key) {
  std::vector<std::string> patterns;
  if (!fields.has(key)) return patterns;
  const Json& list = *fields.raw(key);
  if (!list.is_array() || list.size() > kMostTargets) {
    return fields.unexpected(Error::Kind::kFormat, key, "a list of module names");
  }
  for (const Json& entry : list) {
    if (!entry.is_string()) {
      return fields.unexpected(Error::Kind::kFormat, key, "a list of module names");
    }
    patterns.push_back(entry.get<std::string>());
    FPTQ_TRY_VOID(check_module_pattern(patterns.back(), fields.where() + ": " + std::string(key)));
  }
  return patterns;
}

Status check_unsupported_parts(const JsonFields& fields) {
  if (fields.has("kv_cache_scheme")) {
    return fields.unexpected(Error::Kind::kUnsupported, "kv_cache_scheme", "null");
  }
  if (!is_empty(fields.raw("moe_sparsity_config"))) {
    return fields.unexpected(Error::Kind::kUnsupported, "moe_sparsity_config", "null or {}");
  }
  const Json* sparsity = fields.raw("sparsity_config");
  if (!is_empty(sparsity) && !(sparsity->is_object() && sparsity->contains("format") &&
                               (*sparsity)["format"] == "dense")) {
    return fields.unexpected(Error::Kind::kUnsupported, "sparsity_config",
                             "null, {} or format \"dense\"");
  }
  return {};
}

bool names_class(std::string_view target, ModuleKind kind) {
  return target == "Module" || target == (kind == ModuleKind::kLinear ? "Linear" : "Embedding");
}

}  // namespace

std::string_view quant_storage_name(QuantStorage storage) {
  for (const FormatName& format : kFormats) {
    if (format.storage == storage) return format.name;
  }
  return "";
}

QuantArgs without_blocks(QuantArgs weights, std::size_t cols) {
  if (weights.strategy != Strategy::kBlock) return weights;
  const bool whole_row = weights.group_size == cols;
  weights.strategy = whole_row ? Strategy::kChannel : Strategy::kGroup;
  if (whole_row) weights.group_size = 0;
  return weights;
}

Result<QuantConfig> QuantConfig::parse(const Json& config, const std::string& where) {
  FPTQ_TRY(const JsonFields fields, JsonFields::open(config, where));
  if (is_bitsandbytes_config(config)) {
    FPTQ_TRY_VOID(check_bitsandbytes_config(config, where));
    QuantConfig result;
    result.bitsandbytes_ = true;
    return result;
  }
  FPTQ_TRY(const std::optional<std::string> method, fields.text("quant_method"));
  if (method != "compressed-tensors") {
    return fields.unexpected(Error::Kind::kUnsupported, "quant_method",
                             "\"compressed-tensors\" or \"bitsandbytes\"");
  }
  FPTQ_TRY_VOID(check_unsupported_parts(fields));
  FPTQ_TRY(const std::optional<std::string> format, fields.text("format"));
  std::optional<QuantStorage> storage;
  if (format && *format != kMixed) {
    storage = find_format(*format);
    if (!storage) return unknown_format(fields, true);
  }

  QuantConfig result;
  if (!is_empty(fields.raw("transform_config"))) {
    FPTQ_TRY(result.transforms_,
             TransformConfig::parse(*fields.raw("transform_config"), where + ": transform_config"));
  }
  FPTQ_TRY(result.ignored_, read_patterns(fields, "ignore"));
  if (!fields.has("config_groups") || !fields.raw("config_groups")->is_object() ||
      fields.raw("config_groups")->size() > kMostGroups) {
    return fields.unexpected(Error::Kind::kFormat, "config_groups", "an object with groups");
  }
  for (const auto& [name, value] : fields.raw("config_groups")->items()) {
    FPTQ_TRY(const JsonFields group, JsonFields::open(value, where + ": config_groups: " + name));
    FPTQ_TRY(const std::vector<std::string> targets, read_patterns(group, "targets"));
    FPTQ_TRY(const std::optional<ModuleQuantization> quantization, read_group(group, storage));
    if (!quantization) continue;
    for (const std::string& target : targets) result.rules_.push_back({target, *quantization});
  }
  return result;
}

std::optional<ModuleQuantization> QuantConfig::find(std::string_view module,
                                                    ModuleKind kind) const {
  for (const std::string& ignored : ignored_) {
    if (ignored == module || names_class(ignored, kind) ||
        (is_regex_pattern(ignored) && regex_matches(ignored, module))) {
      return std::nullopt;
    }
  }
  for (const Rule& rule : rules_) {
    if (rule.target == module) return rule.quantization;
  }
  for (const Rule& rule : rules_) {
    if (is_regex_pattern(rule.target) && regex_matches(rule.target, module)) {
      return rule.quantization;
    }
  }
  for (const Rule& rule : rules_) {
    if (names_class(rule.target, kind)) return rule.quantization;
  }
  return std::nullopt;
}

}  // namespace fptq::model
