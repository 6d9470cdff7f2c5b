// The compressed-tensors convention, writing side: names, types and shapes of the tensors that a
// quantized module is stored in, the packing of codes, and the quantization_config.
//
// docs/formats/compressed-tensors.md describes the convention and what was found out about it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "io/safetensors_writer.h"
#include "numeric/scheme.h"

namespace fptq::quantize {

// Bytes of a tensor's elements.
[[nodiscard]] std::uint64_t spec_bytes(const io::TensorSpec& tensor);

// The tensors of one quantized module [N, K] with G = ceil(K / group width) scales per row.
struct StoredModule {
  io::TensorSpec codes;                       // 4 bits: X.weight_packed I32 [N, ceil(K / 8)]
                                              // 8 bits: X.weight I8 [N, K]
  io::TensorSpec scales;                      // X.weight_scale [N, G]
  std::optional<io::TensorSpec> zero_points;  // asymmetric: X.weight_zero_point I8 [N, G]
  std::optional<io::TensorSpec> shape;        // 4 bits: X.weight_shape I64 [2]
  std::optional<io::TensorSpec> input_scale;  // static activations: X.input_scale F32 [1]

  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::vector<const io::TensorSpec*> tensors() const;
};

// Where module "model.layers.0.mlp.up_proj" of shape [rows, cols] is stored.
//   scheme  its weights integers of 4 or 8 bits per channel or group
[[nodiscard]] StoredModule stored_module(const std::string& module, const Scheme& scheme,
                                         std::size_t rows, std::size_t cols, DType scale_dtype);

// "pack-quantized" for 4 bits, "int-quantized" for 8.
[[nodiscard]] std::string_view storage_format(const QuantArgs& weights);

// Bytes of one packed row of `count` 4-bit codes: whole 32-bit words.
[[nodiscard]] constexpr std::size_t packed_row_bytes(std::size_t count) {
  return (count + 7) / 8 * sizeof(std::uint32_t);
}

// Packs 4-bit codes in -8..7: code i + 8 lies in word i / 8 at bit 4 * (i % 8), words
// little-endian, the rest of the last word 0.
//   codes   [count]
//   packed  [packed_row_bytes(count)]
void pack_codes(std::span<const std::int8_t> codes, std::span<std::byte> packed);

// What became of one linear or embedding of the model.
struct ModuleScheme {
  std::string module;  // "model.layers.0.mlp.up_proj"
  bool embedding = false;
  Scheme scheme;         // without weights: not quantized
  std::size_t cols = 0;  // inputs of a linear, width of an embedding
};

// The quantization_config of a model with these modules, all of them, quantized or not.
//
// The scheme that most linears have is given to the class "Linear", those of others to their
// names, and linears that are not quantized are listed under `ignore`. One format is named where
// all groups have the same, "mixed-precision" where they differ.
//
// Weights that the library's "group" and "channel" cannot load are described as blocks of one row:
// 4-bit codes with zero points, and groups that do not divide the width. The codes are the same.
[[nodiscard]] Json quantization_config(std::span<const ModuleScheme> modules);

}  // namespace fptq::quantize
