#include "model/inventory.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "model/quant_config.h"
#include "model/table_module.h"

namespace fptq::model {
namespace {

// What may follow a module's name, its codes first.
constexpr std::array<std::string_view, 6> kQuantizedSuffixes = {
    ".weight_packed",     ".weight",       ".weight_scale",
    ".weight_zero_point", ".weight_shape", ".weight_g_idx"};

// What may follow a module's name in bitsandbytes' layout, its codes first.
constexpr std::array<std::string_view, 7> kTableSuffixes = {
    ".weight",
    ".weight.absmax",
    ".weight.quant_map",
    ".weight.nested_absmax",
    ".weight.nested_quant_map",
    ".weight.quant_state.bitsandbytes__nf4",
    ".weight.quant_state.bitsandbytes__fp4"};

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

bool is_decoder_linear(std::string_view name, const Shape& shape) {
  return name.starts_with("model.layers.") && name.ends_with(".weight") && shape.size() == 2;
}

// The shape [N, K] of a packed weight, from X.weight_shape.
Result<Shape> packed_shape(const io::Checkpoint& checkpoint, const std::string& module,
                           const io::TensorInfo& packed, int num_bits) {
  const std::string name = module + ".weight_shape";
  const auto wrong = [&](const std::string& found) {
    return Error{Error::Kind::kFormat, checkpoint.path().string() + ": tensor \"" + name +
                                           "\": expected the shape of " + packed.name + " " +
                                           shape_text(packed.shape) + " unpacked, got " + found};
  };
  const io::TensorInfo* info = checkpoint.find(name);
  if (info == nullptr) return wrong("no such tensor");
  if (info->dtype != DType::kI64 || info->shape != Shape{2} || packed.shape.size() != 2) {
    return wrong(info->stored_type + " " + shape_text(info->shape));
  }
  FPTQ_TRY(const Tensor tensor, checkpoint.read(name));
  std::array<std::int64_t, 2> axes{};
  std::memcpy(axes.data(), tensor.bytes().data(), sizeof axes);
  const auto rows = static_cast<std::uint64_t>(axes[0]);
  const auto cols = static_cast<std::uint64_t>(axes[1]);
  const std::uint64_t codes_per_word = 32U / static_cast<unsigned>(num_bits);
  if (rows != packed.shape[0] || cols > packed.shape[1] * codes_per_word ||
      (cols + codes_per_word - 1) / codes_per_word != packed.shape[1]) {
    return wrong("[" + std::to_string(axes[0]) + ", " + std::to_string(axes[1]) + "]");
  }
  return Shape{rows, cols};
}

Result<InventoryEntry> quantized_entry(const io::Checkpoint& checkpoint, const std::string& module,
                                       const io::TensorInfo& codes,
                                       const ModuleQuantization& quantization) {
  InventoryEntry entry;
  entry.name = module + ".weight";
  entry.shape = codes.shape;
  if (codes.name.ends_with("_packed")) {
    FPTQ_TRY(entry.shape,
             packed_shape(checkpoint, module, codes, quantization.scheme.weights->num_bits));
  }
  Scheme scheme = quantization.scheme;
  if (entry.shape.size() == 2) scheme.weights = without_blocks(*scheme.weights, entry.shape[1]);
  entry.scheme = scheme_name(scheme);
  for (const std::string_view suffix : kQuantizedSuffixes) {
    const io::TensorInfo* part = checkpoint.find(module + std::string(suffix));
    if (part != nullptr) entry.bytes += part->stored_bytes;
  }
  return entry;
}

// The module that a tensor in bitsandbytes' layout belongs to; nothing for other tensors.
std::optional<std::string> table_module(const io::Checkpoint& checkpoint,
                                        const std::string& tensor) {
  for (const std::string_view suffix : kTableSuffixes) {
    if (!tensor.ends_with(suffix)) continue;
    std::string module = tensor.substr(0, tensor.size() - suffix.size());
    const bool complete = checkpoint.find(module + ".weight") != nullptr &&
                          find_table_state(checkpoint, module) != nullptr;
    if (complete) return module;
  }
  return std::nullopt;
}

Result<InventoryEntry> table_entry(const io::Checkpoint& checkpoint, const std::string& module) {
  FPTQ_TRY(const TableState state, read_table_state(checkpoint, module));
  InventoryEntry entry;
  entry.name = module + ".weight";
  entry.shape = state.shape;
  entry.scheme = scheme_name({state.weights, std::nullopt});
  for (const std::string_view suffix : kTableSuffixes) {
    const io::TensorInfo* part = checkpoint.find(module + std::string(suffix));
    if (part != nullptr) entry.bytes += part->stored_bytes;
  }
  return entry;
}

// 8 * bytes / parameters of the entries that `wanted` picks.
template <typename Wanted>
double bits_per_parameter(const std::vector<InventoryEntry>& entries, const Wanted& wanted) {
  double bits = 0;
  double parameters = 0;
  for (const InventoryEntry& entry : entries) {
    if (!wanted(entry)) continue;
    bits += 8 * static_cast<double>(entry.bytes);
    parameters += static_cast<double>(entry.parameters);
  }
  return parameters == 0 ? 0 : bits / parameters;
}

std::string architecture_of(const Json& config) {
  if (const auto names = config.find("architectures");
      names != config.end() && names->is_array() && !names->empty() && names->front().is_string()) {
    return names->front().get<std::string>();
  }
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : "unknown";
}

}  // namespace

double Inventory::bits_per_weight() const {
  return bits_per_parameter(entries, [](const InventoryEntry&) { return true; });
}

double Inventory::linear_bits_per_weight() const {
  return bits_per_parameter(entries, [](const InventoryEntry& e) { return e.decoder_linear; });
}

Result<Inventory> take_inventory(const io::Checkpoint& checkpoint) {
  Inventory inventory;
  inventory.architecture = architecture_of(checkpoint.config());
  std::optional<QuantConfig> quantization;
  if (const auto config = checkpoint.config().find("quantization_config");
      config != checkpoint.config().end() && !config->is_null()) {
    FPTQ_TRY(quantization, QuantConfig::parse(*config, checkpoint.path().string() +
                                                           "/config.json: quantization_config"));
  }

  // Layer -> block of the rotation of down_proj's inputs.
  std::vector<std::size_t> rotations;
  if (quantization && !quantization->transforms().empty()) {
    FPTQ_TRY(const LlamaConfig config,
             parse_llama_config(checkpoint.config(), checkpoint.path().string() + "/config.json"));
    rotations = config.down_rotations;
  }

  // Module -> how it is quantized, for those whose codes and scales are there.
  const auto find_quantized = [&](const std::string& module) -> std::optional<ModuleQuantization> {
    if (!quantization || checkpoint.find(module + ".weight_scale") == nullptr) return std::nullopt;
    const ModuleKind kind =
        module.ends_with("embed_tokens") ? ModuleKind::kEmbedding : ModuleKind::kLinear;
    return quantization->find(module, kind);
  };

  for (const io::TensorInfo& info : checkpoint.tensors()) {
    InventoryEntry entry;
    bool part_of_another = false;
    if (quantization && quantization->is_bitsandbytes()) {
      if (const auto module = table_module(checkpoint, info.name)) {
        part_of_another = info.name != *module + ".weight";
        if (!part_of_another) {
          FPTQ_TRY(entry, table_entry(checkpoint, *module));
        }
      }
    }
    for (const std::string_view suffix : kQuantizedSuffixes) {
      if (!info.name.ends_with(suffix)) continue;
      const std::string module = info.name.substr(0, info.name.size() - suffix.size());
      const std::optional<ModuleQuantization> found = find_quantized(module);
      if (!found) continue;
      const io::TensorInfo* codes = checkpoint.find(module + ".weight_packed");
      if (codes == nullptr) codes = checkpoint.find(module + ".weight");
      if (codes == nullptr) break;  // the scales of a tied classifier
      part_of_another = codes != &info;
      if (!part_of_another) {
        FPTQ_TRY(entry, quantized_entry(checkpoint, module, info, *found));
      }
      break;
    }
    if (part_of_another) continue;
    if (entry.name.empty()) {
      entry.name = info.name;
      entry.shape = info.shape;
      entry.scheme = lower_case(info.stored_type);
      entry.bytes = info.stored_bytes;
    }
    const bool holds_weights = entry.name.ends_with(".weight") || entry.name.ends_with(".bias");
    entry.parameters = holds_weights ? element_count(entry.shape).value_or(0) : 0;
    entry.decoder_linear = is_decoder_linear(entry.name, entry.shape);
    for (std::size_t layer = 0; layer < rotations.size(); ++layer) {
      if (entry.name == block_module_name(layer, BlockLinear::kDown) + ".weight") {
        entry.input_rotation = rotations[layer];
      }
    }
    inventory.parameters += entry.parameters;
    inventory.bytes += entry.bytes;
    inventory.entries.push_back(std::move(entry));
  }
  return inventory;
}

Result<std::optional<WeightStatistics>> weight_statistics(const io::Checkpoint& checkpoint,
                                                          const io::TensorInfo& info,
                                                          ThreadPool& pool) {
  if (!is_float_weight_dtype(info.dtype)) return std::optional<WeightStatistics>();
  FPTQ_TRY(const Tensor tensor, checkpoint.read(info.name));

  struct Part {
    double sum = 0;
    double sum_of_squares = 0;
    std::uint64_t finite = 0;
    WeightStatistics found{};
  };
  constexpr std::size_t kPartElements = 16384;
  const std::size_t elements = tensor.elements();
  std::vector<Part> parts((elements + kPartElements - 1) / kPartElements);
  pool.parallel_for(parts.size(), 1, [&](std::size_t index, std::size_t) {
    Part& part = parts[index];
    const std::size_t begin = index * kPartElements;
    const std::size_t count = std::min(kPartElements, elements - begin);
    std::vector<float> values(count);
    tensor.read_f32(begin, count, values.data());
    for (std::size_t i = 0; i < count; ++i) {
      const float value = values[i];
      if (!std::isfinite(value)) {
        if (part.found.non_finite++ == 0) part.found.first_non_finite = begin + i;
        continue;
      }
      ++part.finite;
      part.sum += value;
      part.sum_of_squares += static_cast<double>(value) * value;
      part.found.absmax = std::max(part.found.absmax, std::abs(value));
    }
  });

  WeightStatistics statistics{};
  double sum = 0;
  double sum_of_squares = 0;
  double finite = 0;
  for (const Part& part : parts) {
    sum += part.sum;
    sum_of_squares += part.sum_of_squares;
    finite += static_cast<double>(part.finite);
    statistics.absmax = std::max(statistics.absmax, part.found.absmax);
    if (statistics.non_finite == 0) statistics.first_non_finite = part.found.first_non_finite;
    statistics.non_finite += part.found.non_finite;
  }
  if (finite > 0) {
    const double mean = sum / finite;
    statistics.std = std::sqrt(std::max(0.0, sum_of_squares / finite - mean * mean));
  }
  return std::optional<WeightStatistics>(statistics);
}

}  // namespace fptq::model
