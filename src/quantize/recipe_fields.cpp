#include "quantize/recipe_fields.h"

#include <array>
#include <utility>

#include "quantize/layer_pattern.h"

namespace fptq::quantize {
namespace {

constexpr std::array<std::pair<std::string_view, DType>, 3> kFloatTypes = {{
    {"bf16", DType::kBF16},
    {"f16", DType::kF16},
    {"f32", DType::kF32},
}};

std::optional<DType> parse_float_type(std::string_view name) {
  for (const auto& [type_name, type] : kFloatTypes) {
    if (type_name == name) return type;
  }
  return std::nullopt;
}

}  // namespace

Error invalid(const std::string& message) {
  return Error{Error::Kind::kInvalidArgument, message};
}

Error unsupported(const std::string& message) {
  return Error{Error::Kind::kUnsupported, message};
}

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text.substr(0, 80)) + "\"";
}

std::string single_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += c;
  }
  return result + "'";
}

std::string listed(std::span<const std::string_view> names) {
  std::string text;
  for (const std::string_view name : names) {
    text += (text.empty() ? "" : ", ") + std::string(name);
  }
  return text;
}

std::string_view float_type_name(DType dtype) {
  for (const auto& [name, type] : kFloatTypes) {
    if (type == dtype) return name;
  }
  return "f32";
}

std::string activations_text(const std::optional<QuantArgs>& activations) {
  if (!activations) return "a16";
  if (!activations->dynamic) return "a8s";
  return activations->symmetric ? "a8t" : "a8t-asym";
}

Result<std::optional<QuantArgs>> parse_activations(std::string_view text) {
  if (text == "a16") return std::optional<QuantArgs>();
  if (text == "a8t") return std::optional(a8_dynamic_per_token());
  if (text == "a8t-asym") return std::optional(a8_dynamic_per_token(false));
  if (text == "a8s") return std::optional(a8_static_per_tensor());
  return invalid("activations " + in_quotes(text) + ": expected a8t, a8t-asym, a8s or a16");
}

std::string weights_text(const LayerChoice& choice) {
  if (choice.scheme.weights) return layout_name(*choice.scheme.weights);
  return choice.cast ? std::string(float_type_name(*choice.cast)) : "keep";
}

std::string symmetry_text(const LayerChoice& choice) {
  if (!has_symmetry(choice)) return "";
  return choice.scheme.weights->symmetric ? "-sym" : "-asym";
}

bool is_table(const LayerChoice& choice) {
  return has_table_weights(choice.scheme);
}

bool has_symmetry(const LayerChoice& choice) {
  return choice.scheme.weights && !is_table(choice);
}

Error float_activations_only(const LayerChoice& choice) {
  return unsupported("expected a16 with " + weights_text(choice) +
                     ", whose weights are no integers, got 8-bit activations");
}

Result<LayerChoice> parse_weights(std::string_view text,
                                  const std::optional<QuantArgs>& activations) {
  if (text.find("-a8") != std::string_view::npos || text.find("-a16") != std::string_view::npos) {
    return invalid("weights " + in_quotes(text) +
                   ": expected a scheme of weights alone. Activations have a setting of their own");
  }
  return parse_layer_choice(text, activations);
}

std::optional<QuantArgs> made_dynamic(const std::optional<QuantArgs>& activations) {
  if (!activations || activations->dynamic) return activations;
  return a8_dynamic_per_token(activations->symmetric);
}

Result<LayerChoice> parse_classifier(std::string_view text,
                                     const std::optional<QuantArgs>& activations) {
  FPTQ_TRY(LayerChoice choice, parse_layer_choice(text, made_dynamic(activations)));
  if (choice.scheme.activations && !choice.scheme.activations->dynamic) {
    return unsupported("classifier: expected -a8t or -a16, got " + std::string(text) +
                       "; its inputs have no static range");
  }
  return choice;
}

Status check_rounding(const Recipe& recipe) {
  const std::string method =
      "rounding \"" + std::string(algo::rounding_name(recipe.rounding)) + "\"";
  if (recipe.rounding == algo::Rounding::kNearest || !recipe.linears.scheme.weights) return {};
  if (is_table(recipe.linears)) {
    return unsupported(method + ": expected rtn for weights of a table, got " +
                       weights_text(recipe.linears));
  }
  if (recipe.rounding == algo::Rounding::kHqq && recipe.linears.scheme.weights->symmetric) {
    return unsupported(method + ": expected weights with zero points, got " +
                       weights_text(recipe.linears) + symmetry_text(recipe.linears) +
                       ". Use --asymmetric, or rounding search");
  }
  return {};
}

Result<std::optional<DType>> parse_scale_dtype(std::string_view text) {
  if (text == "auto") return std::optional<DType>();
  if (const auto dtype = parse_float_type(text)) return dtype;
  return invalid("scale_dtype " + in_quotes(text) + ": expected auto, bf16, f16 or f32");
}

Result<LayerOverride> make_override(std::string_view pattern, std::string_view scheme,
                                    const std::optional<QuantArgs>& activations) {
  FPTQ_TRY(const LayerPattern checked, LayerPattern::compile(pattern));
  FPTQ_TRY(const LayerChoice choice, parse_layer_choice(scheme, activations));
  return LayerOverride{std::string(pattern), choice};
}

std::string layer_choice_text(const LayerChoice& choice) {
  const auto& weights = choice.scheme.weights;
  std::string text = weights_text(choice) + symmetry_text(choice);
  if (!weights) return text;
  const auto& activations = choice.scheme.activations;
  if (!activations) return text + "-a16";
  return text + (activations->dynamic ? "-a8t" : "-a8s");
}

Result<LayerChoice> parse_layer_choice(std::string_view text,
                                       const std::optional<QuantArgs>& activations) {
  FPTQ_TRY(Scheme scheme, parse_scheme(text));
  if (!scheme.weights) return LayerChoice{Scheme{}, parse_float_type(text)};
  if (text.find("-a8t-") != std::string_view::npos) {
    return invalid("scheme " + in_quotes(text) +
                   ": expected the symmetry of weights before -a8t. That of activations is part of "
                   "the setting activations: a8t or a8t-asym");
  }
  if (has_table_weights(scheme)) {
    const LayerChoice choice{scheme, std::nullopt};
    if (scheme.activations) {
      return with_context(float_activations_only(choice), "scheme " + in_quotes(text));
    }
    return choice;
  }
  if (!scheme.activations && text.find("-a16") == std::string_view::npos) {
    scheme.activations = activations;
  }
  // The symmetry of dynamic activations is that of the rule.
  if (scheme.activations && scheme.activations->dynamic && activations && activations->dynamic) {
    scheme.activations = activations;
  }
  return LayerChoice{scheme, std::nullopt};
}

}  // namespace fptq::quantize
