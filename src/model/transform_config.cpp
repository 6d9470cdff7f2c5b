#include "model/transform_config.h"

#include <algorithm>
#include <array>
#include <bit>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "model/json_fields.h"
#include "model/module_pattern.h"

namespace fptq::model {
namespace {

constexpr std::size_t kMostGroups = 64;
constexpr std::size_t kMostNames = 4096;
// Each is tried on every module of every layer.
constexpr std::size_t kMostPatterns = 16;
constexpr std::size_t kMostLayers = 1024;
constexpr std::size_t kWidestBlock = std::size_t{1} << 24;

// What a layer has besides down_proj: nothing of it may be rotated.
constexpr std::array<std::string_view, 12> kOtherParts = {"",
                                                          ".input_layernorm",
                                                          ".mlp",
                                                          ".mlp.act_fn",
                                                          ".mlp.gate_proj",
                                                          ".mlp.up_proj",
                                                          ".post_attention_layernorm",
                                                          ".self_attn",
                                                          ".self_attn.k_proj",
                                                          ".self_attn.o_proj",
                                                          ".self_attn.q_proj",
                                                          ".self_attn.v_proj"};
constexpr std::array<std::string_view, 6> kOtherModules = {
    "model", "model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb", "lm_head"};

Status check_keys(const JsonFields& fields, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : fields.object().items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return fields.unexpected(Error::Kind::kUnsupported, key, "no such key");
    }
  }
  return {};
}

// A list of names or a single one.
Result<std::vector<std::string>> read_names(const JsonFields& fields, std::string_view key) {
  std::vector<std::string> names;
  if (!fields.has(key)) return names;
  const Json& value = *fields.raw(key);
  if (value.is_string()) names.push_back(value.get<std::string>());
  const bool is_list =
      value.is_array() && value.size() <= kMostNames &&
      std::all_of(value.begin(), value.end(), [](const Json& entry) { return entry.is_string(); });
  if (!value.is_string() && !is_list) {
    return fields.unexpected(Error::Kind::kFormat, key, "a list of module names");
  }
  if (is_list) names = value.get<std::vector<std::string>>();
  if (std::count_if(names.begin(), names.end(), is_regex_pattern) >
      static_cast<std::ptrdiff_t>(kMostPatterns)) {
    return fields.unexpected(Error::Kind::kUnsupported, key,
                             "at most " + std::to_string(kMostPatterns) + " regular expressions");
  }
  for (const std::string& name : names) {
    FPTQ_TRY_VOID(check_module_pattern(name, fields.where() + ": " + std::string(key)));
  }
  return names;
}

bool matches(const std::string& target, std::string_view module) {
  return is_regex_pattern(target) ? regex_matches(target, module) : target == module;
}

bool matches_any(std::span<const std::string> targets, std::string_view module) {
  return std::any_of(targets.begin(), targets.end(),
                     [&](const std::string& target) { return matches(target, module); });
}

std::string layer_name(std::size_t layer) {
  return "model.layers." + std::to_string(layer);
}

std::string down_name(std::size_t layer) {
  return layer_name(layer) + ".mlp.down_proj";
}

// Whether the target selects something else than inputs of down_proj.
bool reaches_further(const std::string& target, std::size_t layers) {
  const auto matched = [&](std::string_view module) { return matches(target, module); };
  if (std::any_of(kOtherModules.begin(), kOtherModules.end(), matched)) return true;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    for (const std::string_view part : kOtherParts) {
      if (matched(layer_name(layer) + std::string(part))) return true;
    }
  }
  return false;
}

// What a group that is applied while the model runs may look like.
Result<std::size_t> read_hadamard_block(const JsonFields& group) {
  FPTQ_TRY(const std::optional<std::string> type, group.text("type"));
  if (type != "hadamard") {
    return group.unexpected(Error::Kind::kUnsupported, "type", "\"hadamard\"");
  }
  FPTQ_TRY(const std::optional<bool> randomize, group.boolean("randomize"));
  if (randomize.value_or(false)) {
    return group.unexpected(Error::Kind::kUnsupported, "randomize", "false");
  }
  FPTQ_TRY(const std::optional<std::string> precision, group.text("precision"));
  if (precision && *precision != "torch.float32" && *precision != "torch.float64") {
    return group.unexpected(Error::Kind::kUnsupported, "precision",
                            "\"torch.float32\" or \"torch.float64\"");
  }
  FPTQ_TRY(const std::optional<std::size_t> block, group.integer("head_dim", 1, kWidestBlock));
  return block.value_or(0);
}

}  // namespace

Result<TransformConfig> TransformConfig::parse(const Json& config, const std::string& where) {
  TransformConfig result;
  FPTQ_TRY(const JsonFields fields, JsonFields::open(config, where));
  FPTQ_TRY_VOID(check_keys(fields, {"config_groups"}));
  if (!fields.has("config_groups")) return result;
  const Json& groups = *fields.raw("config_groups");
  if (!groups.is_object() || groups.size() > kMostGroups) {
    return fields.unexpected(Error::Kind::kFormat, "config_groups", "an object with groups");
  }
  for (const auto& [name, group] : groups.items()) {
    FPTQ_TRY_VOID(read_group(group, where + ": " + name, result));
  }
  return result;
}

Status TransformConfig::read_group(const Json& group, const std::string& where,
                                   TransformConfig& result) {
  FPTQ_TRY(const JsonFields fields, JsonFields::open(group, where));
  FPTQ_TRY_VOID(
      check_keys(fields, {"type", "apply", "randomize", "requires_grad", "head_dim", "precision"}));
  if (!fields.has("apply")) return {};
  const Json& entries = *fields.raw("apply");
  if (!entries.is_array() || entries.size() > kMostGroups) {
    return fields.unexpected(Error::Kind::kFormat, "apply", "a list of objects");
  }
  for (const Json& value : entries) {
    FPTQ_TRY(const JsonFields entry, JsonFields::open(value, where + ": apply"));
    FPTQ_TRY_VOID(check_keys(entry, {"targets", "location", "inverse", "ignore"}));
    FPTQ_TRY(const std::optional<std::string> location, entry.text("location"));
    if (location == "weight_input" || location == "weight_output") continue;
    if (location != "input") {
      return entry.unexpected(Error::Kind::kUnsupported, "location",
                              "\"input\", \"weight_input\" or \"weight_output\"");
    }
    // The matrix is symmetric: its inverse is itself.
    FPTQ_TRY_VOID(entry.boolean("inverse"));
    FPTQ_TRY(const std::size_t block, read_hadamard_block(fields));
    FPTQ_TRY(std::vector<std::string> targets, read_names(entry, "targets"));
    FPTQ_TRY(std::vector<std::string> ignored, read_names(entry, "ignore"));
    result.rotations_.push_back({entry.where(), block, std::move(targets), std::move(ignored)});
  }
  return {};
}

Result<std::vector<std::size_t>> TransformConfig::down_rotations(std::size_t layers,
                                                                 std::size_t width) const {
  std::vector<std::size_t> blocks;
  if (rotations_.empty()) return blocks;
  if (layers > kMostLayers) {
    return Error{Error::Kind::kUnsupported,
                 rotations_.front().where + ": expected a model of at most " +
                     std::to_string(kMostLayers) + " layers, got " + std::to_string(layers)};
  }
  blocks.resize(layers, 0);
  for (const InputRotation& rotation : rotations_) {
    FPTQ_TRY_VOID(add_layers(rotation, width, blocks));
  }
  return blocks;
}

Status TransformConfig::add_layers(const InputRotation& rotation, std::size_t width,
                                   std::vector<std::size_t>& blocks) {
  const std::size_t block = rotation.block == 0 ? width : rotation.block;
  if (!std::has_single_bit(block) || width % block != 0) {
    return Error{Error::Kind::kFormat,
                 rotation.where + ": head_dim: expected a power of two that divides the width " +
                     std::to_string(width) + " of what is rotated, got " +
                     (rotation.block == 0 ? "null" : std::to_string(block))};
  }
  for (const std::string& target : rotation.targets) {
    bool found = false;
    for (std::size_t layer = 0; layer < blocks.size() && !found; ++layer) {
      found = matches(target, down_name(layer));
    }
    if (!found || reaches_further(target, blocks.size())) {
      return Error{found ? Error::Kind::kUnsupported : Error::Kind::kFormat,
                   rotation.where + ": targets: expected down_proj of layers of the model and " +
                       "nothing else, got \"" + target.substr(0, 60) + "\""};
    }
  }
  for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
    const std::string module = down_name(layer);
    if (!matches_any(rotation.targets, module) || matches_any(rotation.ignored, module)) continue;
    if (blocks[layer] != 0) {
      return Error{
          Error::Kind::kUnsupported,
          rotation.where + ": expected one rotation of the inputs of \"" + module + "\", got two"};
    }
    blocks[layer] = block;
  }
  return {};
}

}  // namespace fptq::model
