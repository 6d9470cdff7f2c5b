// Quantized modules of compressed-tensors checkpoints, as packed matrices.

#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/result.h"
#include "model/quant_config.h"
#include "model/tensor_reader.h"
#include "numeric/quantizer.h"
#include "tensor/packed_matrix.h"

namespace fptq::model {

// A linear or embedding whose weights are integers.
struct QuantizedModule {
  PackedMatrix weight;
  std::optional<QuantArgs> activations;
  std::optional<Grid> static_grid;  // of static activations
};

// Bytes that the packed weights of a module [rows, cols] will take.
[[nodiscard]] std::uint64_t packed_module_bytes(const TensorReader& reader,
                                                const std::string& module, std::size_t rows,
                                                std::size_t cols,
                                                const ModuleQuantization& quantization);

// Reads and packs module "model.layers.0.mlp.up_proj" of shape [rows, cols]; QuantStorage says
// which tensors it has. Codes go from the mapped file into the packed matrix row by row.
//
// Errors: kFormat and kUnsupported, naming the tensor: another shape or type, a weight_shape that
// contradicts, a zero point of a symmetric scheme that is not 0, codes and scales out of range.
[[nodiscard]] Result<QuantizedModule> read_quantized_module(TensorReader& reader,
                                                            const std::string& module,
                                                            std::size_t rows, std::size_t cols,
                                                            const ModuleQuantization& quantization);

}  // namespace fptq::model
