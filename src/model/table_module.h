// Modules in bitsandbytes' layout, as matrices of table codes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/bitsandbytes_config.h"
#include "model/tensor_reader.h"
#include "tensor/table_matrix.h"

namespace fptq::model {

// The tensor that describes the module's weight; null where the weight is not stored as codes.
[[nodiscard]] const io::TensorInfo* find_table_state(const io::Checkpoint& checkpoint,
                                                     const std::string& module);

// Reads the description of a module that has one.
[[nodiscard]] Result<TableState> read_table_state(const io::Checkpoint& checkpoint,
                                                  const std::string& module);

// Bytes of memory that the module's constants take; its codes stay in the mapped file.
[[nodiscard]] std::uint64_t table_constant_bytes(const io::Checkpoint& checkpoint,
                                                 const std::string& module);

// Reads module "model.layers.0.mlp.up_proj" of shape [rows, cols]: codes stay in the mapped file,
// constants become float32.
//
// A quant_map has to be the table that the type names, as bitsandbytes itself takes the table by
// its name; a nested_quant_map is used as it is stored, as bitsandbytes does too.
// Errors: kFormat and kUnsupported, naming the tensor: those of parse_table_state(), a tensor that
// is missing or has another size or type, another table, constants that are not finite.
[[nodiscard]] Result<TableMatrix> read_table_module(TensorReader& reader, const std::string& module,
                                                    std::size_t rows, std::size_t cols);

}  // namespace fptq::model
