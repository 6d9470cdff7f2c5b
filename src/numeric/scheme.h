// The vocabulary of quantization schemes: compressed-tensors' terms, and short printed names.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq {

// Which elements share one scale (and zero point).
enum class Strategy { kTensor, kChannel, kGroup, kToken, kBlock };

// "tensor", "channel", "group", "token", "block".
[[nodiscard]] std::string_view strategy_name(Strategy strategy);

// What the codes stand for: integers q with x = (q - zero_point) * scale, or entries of the
// NormalFloat4 / FP4 table with x = table[q] * absmax.
enum class CodeType { kInt, kNf4, kFp4 };

// How one operand of a linear is quantized. Equality means the same arithmetic.
struct QuantArgs {
  int num_bits = 8;
  CodeType type = CodeType::kInt;
  bool symmetric = true;  // no zero point
  Strategy strategy = Strategy::kChannel;
  std::size_t group_size = 0;     // along the input axis; kGroup and kBlock only, else 0
  bool dynamic = false;           // range taken at run time (activations only)
  bool double_quantized = false;  // kNf4 and kFp4: the absmax constants are 8-bit themselves

  bool operator==(const QuantArgs&) const = default;
};

// The scheme of one linear or embedding. An absent operand stays in floating point.
struct Scheme {
  std::optional<QuantArgs> weights;
  std::optional<QuantArgs> activations;

  bool operator==(const Scheme&) const = default;
};

// Whether the weights are codes of a table, NF4 or FP4.
[[nodiscard]] inline bool has_table_weights(const Scheme& scheme) {
  return scheme.weights && scheme.weights->type != CodeType::kInt;
}

// Building blocks of the mission's schemes.
[[nodiscard]] QuantArgs int_weights(int num_bits, Strategy strategy, std::size_t group_size,
                                    bool symmetric);
[[nodiscard]] QuantArgs a8_dynamic_per_token(bool symmetric = true);
[[nodiscard]] QuantArgs a8_static_per_tensor(bool symmetric = true);

// The short name of the weights without their symmetry: "w4g32", "w8c".
[[nodiscard]] std::string layout_name(const QuantArgs& weights);

// The short name: "w4g32-a8t", "w4c-asym-a8t", "w8c", "w8c-a8s", "nf4b64-dq"; "float" where nothing
// is quantized. Symmetry is part of it where parse_scheme() would assume the other one, so that
// parse_scheme(scheme_name(s)) == s for every scheme that parse_scheme() can give.
[[nodiscard]] std::string scheme_name(const Scheme& scheme);

// The short name with the symmetry of each operand, for receipts:
// "w4g32-a8t (weights asymmetric, activations symmetric)". Tables have no zero points to speak of.
[[nodiscard]] std::string describe_scheme(const Scheme& scheme);

// Reads a short name: w4g32, w4g64, w4g128 (any group), w4c, w8c, w8g64, each optionally followed
// by -a8t, -a8s, -a16; "bf16", "f16", "f32" and "keep" mean: not quantized. 4-bit groups are
// asymmetric and the rest symmetric unless "-sym" or "-asym" behind the operand says otherwise:
// "w4c-asym-a8t" of the weights, "w4c-a8t-asym" of activations. nf4b64 and fp4b64 (blocks of 32 to
// 4096, powers of two) are tables, nf4b64-dq the same with quantized constants; nf4 and fp4 stand
// for nf4b64-dq and fp4b64-dq.
// Errors: kInvalidArgument names the part that is not understood and lists what is.
[[nodiscard]] Result<Scheme> parse_scheme(std::string_view text);

}  // namespace fptq
