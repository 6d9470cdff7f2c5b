#include "quantize/compressed_tensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace fptq::quantize {
namespace {

void store_word(std::uint32_t word, std::byte* out) {
  for (int byte = 0; byte < 4; ++byte) out[byte] = static_cast<std::byte>(word >> (8 * byte));
}

std::uint32_t nibble(std::int8_t code) {
  return static_cast<std::uint32_t>(static_cast<int>(code) + 8) & 0xFU;
}

Json args_json(const std::optional<QuantArgs>& args) {
  if (!args) return nullptr;
  Json json;
  json["dynamic"] = args->dynamic;
  json["group_size"] = args->strategy == Strategy::kGroup ? Json(args->group_size) : Json(nullptr);
  json["num_bits"] = args->num_bits;
  json["strategy"] = std::string(strategy_name(args->strategy));
  json["symmetric"] = args->symmetric;
  json["type"] = "int";
  return json;
}

// The width of the one-row blocks that weights of `cols` inputs are described as, or 0 where the
// plain strategy does. The library packs the zero points of "group" and "channel" and since 0.18
// cannot load them packed, and it takes no "group" that is shorter than the others.
std::size_t block_width(const QuantArgs& weights, std::size_t cols) {
  const bool grouped = weights.strategy == Strategy::kGroup;
  if (weights.num_bits == 4 && !weights.symmetric) return grouped ? weights.group_size : cols;
  return grouped && cols % weights.group_size != 0 ? weights.group_size : 0;
}

Json weights_json(const QuantArgs& weights, std::size_t block_width) {
  Json json = args_json(weights);
  if (block_width == 0) return json;
  json["block_structure"] = Json::array({1, block_width});
  json["group_size"] = nullptr;
  json["strategy"] = std::string(strategy_name(Strategy::kBlock));
  return json;
}

// A config group under construction.
struct Group {
  Scheme scheme;
  std::size_t block_width;
  bool embedding;
  std::vector<std::string> modules;
};

std::vector<Group> group_modules(std::span<const ModuleScheme> modules) {
  std::vector<Group> groups;
  for (const ModuleScheme& module : modules) {
    if (!module.scheme.weights) continue;
    const std::size_t width = block_width(*module.scheme.weights, module.cols);
    const auto same = [&](const Group& group) {
      return group.scheme == module.scheme && group.block_width == width &&
             group.embedding == module.embedding;
    };
    auto group = std::find_if(groups.begin(), groups.end(), same);
    if (group == groups.end()) {
      group = groups.insert(groups.end(), Group{module.scheme, width, module.embedding, {}});
    }
    group->modules.push_back(module.module);
  }
  return groups;
}

// Moves the group of linears with the most members, the first of equals, to the end and returns
// it; null where no linear is quantized.
const Group* put_largest_last(std::vector<Group>& groups) {
  auto largest = groups.end();
  for (auto group = groups.begin(); group != groups.end(); ++group) {
    if (group->embedding) continue;
    if (largest == groups.end() || group->modules.size() > largest->modules.size()) largest = group;
  }
  if (largest == groups.end()) return nullptr;
  std::rotate(largest, largest + 1, groups.end());
  return &groups.back();
}

}  // namespace

std::uint64_t spec_bytes(const io::TensorSpec& tensor) {
  std::uint64_t size = dtype_bytes(tensor.dtype);
  for (const std::size_t axis : tensor.shape) size *= axis;
  return size;
}

std::vector<const io::TensorSpec*> StoredModule::tensors() const {
  std::vector<const io::TensorSpec*> all = {&codes, &scales};
  if (zero_points) all.push_back(&*zero_points);
  if (shape) all.push_back(&*shape);
  if (input_scale) all.push_back(&*input_scale);
  return all;
}

std::uint64_t StoredModule::bytes() const {
  std::uint64_t size = 0;
  for (const io::TensorSpec* tensor : tensors()) size += spec_bytes(*tensor);
  return size;
}

StoredModule stored_module(const std::string& module, const Scheme& scheme, std::size_t rows,
                           std::size_t cols, DType scale_dtype) {
  const QuantArgs& weights = *scheme.weights;
  FPTQ_CHECK(weights.type == CodeType::kInt && (weights.num_bits == 4 || weights.num_bits == 8),
             "integers of 4 or 8 bits");
  const std::size_t width = weights.strategy == Strategy::kGroup ? weights.group_size : cols;
  const std::size_t groups = (cols + width - 1) / width;
  const bool packed = weights.num_bits == 4;
  StoredModule stored;
  stored.codes = packed ? io::TensorSpec{module + ".weight_packed",
                                         DType::kI32,
                                         {rows, packed_row_bytes(cols) / sizeof(std::uint32_t)}}
                        : io::TensorSpec{module + ".weight", DType::kI8, {rows, cols}};
  stored.scales = io::TensorSpec{module + ".weight_scale", scale_dtype, {rows, groups}};
  if (!weights.symmetric) {
    stored.zero_points = io::TensorSpec{module + ".weight_zero_point", DType::kI8, {rows, groups}};
  }
  if (packed) stored.shape = io::TensorSpec{module + ".weight_shape", DType::kI64, {2}};
  if (scheme.activations && !scheme.activations->dynamic) {
    stored.input_scale = io::TensorSpec{module + ".input_scale", DType::kF32, {1}};
  }
  return stored;
}

std::string_view storage_format(const QuantArgs& weights) {
  return weights.num_bits == 4 ? "pack-quantized" : "int-quantized";
}

void pack_codes(std::span<const std::int8_t> codes, std::span<std::byte> packed) {
  FPTQ_CHECK(packed.size() == packed_row_bytes(codes.size()), "one packed row");
  const std::size_t whole = codes.size() / 8;
  for (std::size_t word = 0; word < whole; ++word) {
    const std::int8_t* code = codes.data() + word * 8;
    std::uint32_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= nibble(code[i]) << (4 * i);
    store_word(bits, packed.data() + word * 4);
  }
  if (whole * 8 == codes.size()) return;
  std::uint32_t bits = 0;
  for (std::size_t i = whole * 8; i < codes.size(); ++i) bits |= nibble(codes[i]) << (4 * (i % 8));
  store_word(bits, packed.data() + whole * 4);
}

Json quantization_config(std::span<const ModuleScheme> modules) {
  std::vector<Group> groups = group_modules(modules);
  // Names come before the class: loaders stop at the first target that a module matches, and warn
  // of targets that were never reached.
  const Group* general = put_largest_last(groups);
  Json config_groups = Json::object();
  std::string_view format;
  for (const Group& group : groups) {
    const std::string_view group_format = storage_format(*group.scheme.weights);
    format = format.empty() || format == group_format ? group_format : "mixed-precision";
    Json json;
    json["format"] = std::string(group_format);
    json["input_activations"] = args_json(group.scheme.activations);
    json["output_activations"] = nullptr;
    if (group.embedding) {
      json["targets"] = Json::array({"Embedding"});
    } else if (&group == general) {
      json["targets"] = Json::array({"Linear"});
    } else {
      json["targets"] = group.modules;
    }
    json["weights"] = weights_json(*group.scheme.weights, group.block_width);
    config_groups["group_" + std::to_string(config_groups.size())] = std::move(json);
  }
  Json ignore = Json::array();
  for (const ModuleScheme& module : modules) {
    if (general != nullptr && !module.embedding && !module.scheme.weights) {
      ignore.push_back(module.module);
    }
  }
  Json config;
  config["config_groups"] = std::move(config_groups);
  config["format"] = std::string(format);
  config["global_compression_ratio"] = nullptr;
  config["ignore"] = std::move(ignore);
  config["kv_cache_scheme"] = nullptr;
  config["quant_method"] = "compressed-tensors";
  config["quantization_status"] = "compressed";
  return config;
}

}  // namespace fptq::quantize
