#include "quantize/bitsandbytes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "numeric/code_table.h"

namespace fptq::quantize {
namespace {

// Longer than any float32 in decimal: "-1.1754943508222875e-38".
constexpr std::size_t kOffsetWidth = 24;
constexpr std::size_t kStateAlignment = 8;

// torch's name of a type.
std::string torch_name(DType dtype) {
  return dtype == DType::kF16 ? "float16" : dtype == DType::kBF16 ? "bfloat16" : "float32";
}

bool is_table(const ModuleScheme& module) {
  return has_table_weights(module.scheme);
}

// The text with a given spelling of the offset.
std::string state_text(const QuantArgs& weights, std::size_t rows, std::size_t cols,
                       DType source_dtype, const std::string& offset) {
  std::string text = "{\"quant_type\": \"" + std::string(code_type_name(weights.type)) +
                     "\", \"blocksize\": " + std::to_string(weights.group_size) +
                     ", \"dtype\": \"" + torch_name(source_dtype) + "\", \"shape\": [" +
                     std::to_string(rows) + ", " + std::to_string(cols) + "]";
  if (weights.double_quantized) {
    text += ", \"nested_blocksize\": " + std::to_string(kNestedBlockSize) +
            ", \"nested_dtype\": \"float32\", \"nested_offset\": " + offset;
  }
  return text + "}";
}

std::size_t state_bytes(const QuantArgs& weights, std::size_t rows, std::size_t cols,
                        DType source_dtype) {
  const std::size_t longest =
      state_text(weights, rows, cols, source_dtype, std::string(kOffsetWidth, '0')).size();
  if (!weights.double_quantized) return longest;
  return (longest + kStateAlignment - 1) / kStateAlignment * kStateAlignment;
}

}  // namespace

std::vector<const io::TensorSpec*> StoredTable::tensors() const {
  std::vector<const io::TensorSpec*> all = {&codes, &absmax, &table};
  if (nested_absmax) all.push_back(&*nested_absmax);
  if (nested_table) all.push_back(&*nested_table);
  all.push_back(&state);
  return all;
}

std::uint64_t StoredTable::bytes() const {
  std::uint64_t size = 0;
  for (const io::TensorSpec* tensor : tensors()) size += spec_bytes(*tensor);
  return size;
}

StoredTable stored_table(const std::string& module, const QuantArgs& weights, std::size_t rows,
                         std::size_t cols, DType source_dtype) {
  FPTQ_CHECK(weights.type != CodeType::kInt && is_table_block_size(weights.group_size),
             "codes of a table");
  const std::size_t count = rows * cols;
  const std::size_t constants = (count + weights.group_size - 1) / weights.group_size;
  const std::string weight = module + ".weight";
  StoredTable stored;
  stored.codes = {weight, DType::kU8, {(count + 1) / 2, 1}};
  stored.absmax = {
      weight + ".absmax", weights.double_quantized ? DType::kU8 : DType::kF32, {constants}};
  stored.table = {weight + ".quant_map", DType::kF32, {kTableEntries}};
  if (weights.double_quantized) {
    const std::size_t blocks = (constants + kNestedBlockSize - 1) / kNestedBlockSize;
    stored.nested_absmax = {weight + ".nested_absmax", DType::kF32, {blocks}};
    stored.nested_table = {weight + ".nested_quant_map", DType::kF32, {kDynamicMapEntries}};
  }
  stored.state = {
      weight + ".quant_state.bitsandbytes__" + std::string(code_type_name(weights.type)),
      DType::kU8,
      {state_bytes(weights, rows, cols, source_dtype)}};
  stored.source_dtype = source_dtype;
  return stored;
}

std::string table_state_text(const QuantArgs& weights, std::size_t rows, std::size_t cols,
                             DType source_dtype, float offset) {
  // The shortest decimal that reads back as the same double, as Python writes it.
  std::string text =
      state_text(weights, rows, cols, source_dtype, Json(static_cast<double>(offset)).dump());
  text.resize(state_bytes(weights, rows, cols, source_dtype), ' ');
  return text;
}

bool has_tables(std::span<const ModuleScheme> modules) {
  return std::any_of(modules.begin(), modules.end(), is_table);
}

Status check_table_modules(std::span<const ModuleScheme> modules, bool tied) {
  const auto first = std::find_if(modules.begin(), modules.end(), is_table);
  if (first == modules.end()) return {};
  const std::string table = layout_name(*first->scheme.weights);
  const auto refused = [&](const ModuleScheme& module, const std::string& expected) {
    return Error{Error::Kind::kUnsupported, "module \"" + module.module + "\": expected " +
                                                expected + ", got " + scheme_name(module.scheme)};
  };
  for (const ModuleScheme& module : modules) {
    if (!module.scheme.weights) continue;
    const bool classifier = &module == &modules.back();
    if (is_table(module) && (module.embedding || (classifier && tied))) {
      return refused(module,
                     "floating point (keep, bf16, f16, f32): bitsandbytes' layout holds linears "
                     "only, and no embedding or classifier that is tied to one");
    }
    if (module.scheme.weights != first->scheme.weights) {
      return refused(module, table + " or floating point: bitsandbytes' layout holds one scheme, " +
                                 "and none of compressed-tensors. Change --embed, --head or "
                                 "--override");
    }
  }
  return {};
}

Json bitsandbytes_config(std::span<const ModuleScheme> modules, DType source_dtype) {
  const auto first = std::find_if(modules.begin(), modules.end(), is_table);
  FPTQ_CHECK(first != modules.end(), "a module of table codes");
  Json skipped = Json::array();
  for (const ModuleScheme& module : modules) {
    if (!module.embedding && !module.scheme.weights) skipped.push_back(module.module);
  }
  Json config;
  config["_load_in_4bit"] = true;
  config["_load_in_8bit"] = false;
  config["bnb_4bit_compute_dtype"] = torch_name(source_dtype);
  config["bnb_4bit_quant_storage"] = "uint8";
  config["bnb_4bit_quant_type"] = std::string(code_type_name(first->scheme.weights->type));
  config["bnb_4bit_use_double_quant"] = first->scheme.weights->double_quantized;
  config["llm_int8_enable_fp32_cpu_offload"] = false;
  config["llm_int8_has_fp16_weight"] = false;
  config["llm_int8_skip_modules"] = std::move(skipped);
  config["llm_int8_threshold"] = 6.0;
  config["load_in_4bit"] = true;
  config["load_in_8bit"] = false;
  config["quant_method"] = "bitsandbytes";
  return config;
}

}  // namespace fptq::quantize
