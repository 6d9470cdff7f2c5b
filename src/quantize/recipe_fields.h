// The values of single settings of a recipe, as YAML files and flags both spell them.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

// A kInvalidArgument error; a kUnsupported one.
[[nodiscard]] Error invalid(const std::string& message);
[[nodiscard]] Error unsupported(const std::string& message);

// The text in quotes, its first 80 bytes: messages stay readable whatever a file holds.
[[nodiscard]] std::string in_quotes(std::string_view text);

// A single-quoted YAML string: text of one line without control characters, in which nothing but
// the quote has to be escaped.
[[nodiscard]] std::string single_quoted(std::string_view text);

// "rtn, int8".
[[nodiscard]] std::string listed(std::span<const std::string_view> names);

// "bf16", "f16", "f32".
[[nodiscard]] std::string_view float_type_name(DType dtype);

// a8t, a8t-asym, a8s, a16 (nothing).
[[nodiscard]] std::string activations_text(const std::optional<QuantArgs>& activations);
[[nodiscard]] Result<std::optional<QuantArgs>> parse_activations(std::string_view text);

// "w4g32", "bf16", "keep": a choice without symmetry and activations.
[[nodiscard]] std::string weights_text(const LayerChoice& choice);
// "-sym", "-asym", or "" where the weights are not quantized.
[[nodiscard]] std::string symmetry_text(const LayerChoice& choice);
// parse_layer_choice() for settings that speak of weights alone.
[[nodiscard]] Result<LayerChoice> parse_weights(std::string_view text,
                                                const std::optional<QuantArgs>& activations);

// Whether the weights are entries of a table; whether they are integers, with or without zero
// points.
[[nodiscard]] bool is_table(const LayerChoice& choice);
[[nodiscard]] bool has_symmetry(const LayerChoice& choice);
// kUnsupported: 8-bit activations beside weights of a table.
[[nodiscard]] Error float_activations_only(const LayerChoice& choice);

// parse_layer_choice() for the classifier, whose inputs are not observed: kUnsupported where they
// are to be static. What `activations` says of all layers becomes dynamic for it.
[[nodiscard]] Result<LayerChoice> parse_classifier(std::string_view text,
                                                   const std::optional<QuantArgs>& activations);
// Static activations as dynamic ones; others as they are.
[[nodiscard]] std::optional<QuantArgs> made_dynamic(const std::optional<QuantArgs>& activations);

// kUnsupported: a rounding method that the weights of linears do not allow.
[[nodiscard]] Status check_rounding(const Recipe& recipe);

// auto (nothing), bf16, f16, f32.
[[nodiscard]] Result<std::optional<DType>> parse_scale_dtype(std::string_view text);

// An override from its two parts, both checked.
[[nodiscard]] Result<LayerOverride> make_override(std::string_view pattern, std::string_view scheme,
                                                  const std::optional<QuantArgs>& activations);

}  // namespace fptq::quantize
