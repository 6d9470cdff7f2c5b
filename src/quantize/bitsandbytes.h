// The layout in which bitsandbytes stores linears of 4 bits, writing side: names, types and shapes
// of tensors, the description beside them, and the quantization_config.
//
// docs/formats/bitsandbytes.md describes the layout and what was found out about it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/safetensors_writer.h"
#include "numeric/scheme.h"
#include "quantize/compressed_tensors.h"

namespace fptq::quantize {

// The tensors of one module [N, K] of table codes, with B = ceil(N * K / block size) constants.
struct StoredTable {
  io::TensorSpec codes;   // X.weight U8 [ceil(N * K / 2), 1]
  io::TensorSpec absmax;  // X.weight.absmax F32 [B]; U8 where constants are quantized
  io::TensorSpec table;   // X.weight.quant_map F32 [16]
  std::optional<io::TensorSpec> nested_absmax;  // X.weight.nested_absmax F32 [ceil(B / 256)]
  std::optional<io::TensorSpec> nested_table;   // X.weight.nested_quant_map F32 [256]
  io::TensorSpec state;  // X.weight.quant_state.bitsandbytes__nf4 U8 [bytes of JSON]
  DType source_dtype;    // what bitsandbytes restores weights as

  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::vector<const io::TensorSpec*> tensors() const;
  [[nodiscard]] std::size_t constants() const { return absmax.shape[0]; }
};

// Where module "model.layers.0.mlp.up_proj" of shape [rows, cols] is stored.
//   weights       nf4 or fp4
//   source_dtype  F32, F16 or BF16
[[nodiscard]] StoredTable stored_table(const std::string& module, const QuantArgs& weights,
                                       std::size_t rows, std::size_t cols, DType source_dtype);

// The JSON text of the tensor `state`, as bitsandbytes writes it. With quantized constants blanks
// follow up to the tensor's size, which has to be known before the offset is.
[[nodiscard]] std::string table_state_text(const QuantArgs& weights, std::size_t rows,
                                           std::size_t cols, DType source_dtype, float offset);

// Whether these modules can share a directory with modules in bitsandbytes' layout, and where any
// is a table.
//   modules  all linears and embeddings of the model
// Errors: kUnsupported, naming the module: codes of a table in an embedding or in a classifier that
// is tied to one, other quantized weights beside them, and two different tables.
[[nodiscard]] Status check_table_modules(std::span<const ModuleScheme> modules, bool tied);

// Whether any module has weights of a table.
[[nodiscard]] bool has_tables(std::span<const ModuleScheme> modules);

// The quantization_config of a model with these modules, of which some are tables. Linears that
// are not quantized are listed under llm_int8_skip_modules.
[[nodiscard]] Json bitsandbytes_config(std::span<const ModuleScheme> modules, DType source_dtype);

}  // namespace fptq::quantize
