#include "quantize/recipe.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/file.h"
#include "numeric/code_table.h"
#include "quantize/recipe_fields.h"
#include "quantize/recipe_settings.h"

namespace fptq::quantize {
namespace {

constexpr std::array<std::string_view, 5> kOffered = {"fptq", "fptq-paper", "rtn", "int8", "nf4"};

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::span<const std::string_view> builtin_recipe_names() {
  return kOffered;
}

Result<Recipe> builtin_recipe(std::string_view name) {
  const QuantArgs w8c = int_weights(8, Strategy::kChannel, 0, true);
  if (!contains(kOffered, name)) {
    return invalid("recipe " + in_quotes(name) + ": not known; this version offers " +
                   listed(kOffered) + " and YAML files");
  }
  Recipe recipe;
  recipe.name = name;
  if (name == "nf4") {
    recipe.linears.scheme = Scheme{table_weights(CodeType::kNf4, 64, true), std::nullopt};
    return recipe;
  }
  const bool paper = name == "fptq-paper";
  const QuantArgs w4 = int_weights(4, Strategy::kGroup, paper ? 128 : 32, false);
  recipe.linears.scheme = Scheme{name == "int8" ? w8c : w4, a8_dynamic_per_token()};
  if (name == "fptq") recipe.rounding = algo::Rounding::kGptq;
  if (paper) {
    recipe.activation_policy = algo::ActivationThresholds{};
    recipe.equalization = Equalization::kLae;
  }
  recipe.embedding.scheme = Scheme{w8c, std::nullopt};
  recipe.classifier.scheme = Scheme{w8c, a8_dynamic_per_token()};
  return recipe;
}

std::string print_recipe(const Recipe& recipe) {
  const auto& weights = recipe.linears.scheme.weights;
  std::string text = "name: " + recipe.name + "\n";
  text += "weights: " + weights_text(recipe.linears) + "\n";
  if (has_symmetry(recipe.linears)) {
    text += std::string("symmetric: ") + (weights->symmetric ? "true" : "false") + "\n";
  }
  text += "activations: " + activations_text(recipe.linears.scheme.activations) + "\n";
  text += "embed: " + weights_text(recipe.embedding) + symmetry_text(recipe.embedding) + "\n";
  text += "head: " + layer_choice_text(recipe.classifier) + "\n";
  for (const RecipeSetting& setting : recipe_settings()) {
    if (!setting.matters(recipe)) continue;
    text += std::string(setting.key) + ": " + setting.print(recipe) + "\n";
  }
  if (recipe.overrides.empty()) return text + "overrides: []\n";
  text += "overrides:\n";
  for (const LayerOverride& layer : recipe.overrides) {
    text += "  - match: " + single_quoted(layer.pattern) + "\n";
    text += "    scheme: " + layer_choice_text(layer.choice) + "\n";
  }
  return text;
}

Result<Recipe> load_recipe(const std::string& name_or_path) {
  if (contains(kOffered, name_or_path)) return builtin_recipe(name_or_path);
  std::error_code failure;
  if (!std::filesystem::exists(name_or_path, failure)) {
    return Error{Error::Kind::kNotFound, "recipe " + in_quotes(name_or_path) +
                                             ": neither a file nor one of " + listed(kOffered)};
  }
  FPTQ_TRY(const std::string yaml, read_text_file(name_or_path, std::uint64_t{1} << 20));
  return parse_recipe(yaml, name_or_path);
}

Result<Recipe> apply_overrides(Recipe recipe, const RecipeOverrides& overrides) {
  const auto in_flag = [](const char* flag, const Error& error) {
    return with_context(error, flag);
  };
  std::optional<QuantArgs> activations = recipe.linears.scheme.activations;
  if (overrides.activations) {
    const auto parsed = parse_activations(*overrides.activations);
    if (!parsed) return in_flag("--activations", parsed.error());
    // Layers that differ from the recipe's rule on purpose stay as they are.
    const auto replace = [&](LayerChoice& choice) {
      if (choice.scheme.weights && choice.scheme.activations == activations) {
        choice.scheme.activations = *parsed;
      }
    };
    for (LayerOverride& layer : recipe.overrides) replace(layer.choice);
    if (recipe.classifier.scheme.weights &&
        recipe.classifier.scheme.activations == made_dynamic(activations)) {
      recipe.classifier.scheme.activations = made_dynamic(*parsed);
    }
    replace(recipe.linears);
    activations = *parsed;
  }
  if (overrides.weights) {
    auto parsed = parse_weights(*overrides.weights, activations);
    if (!parsed) return in_flag("--weights", parsed.error());
    recipe.linears = *std::move(parsed);
    // No layout holds both: without a word about them they stay as they are.
    if (is_table(recipe.linears)) {
      recipe.embedding = recipe.classifier = LayerChoice{};
      if (!overrides.activations) activations.reset();
      if (!overrides.rounding) recipe.rounding = algo::Rounding::kNearest;
    }
  }
  if (activations && is_table(recipe.linears)) {
    return in_flag("--activations", float_activations_only(recipe.linears));
  }
  if (overrides.symmetric) {
    if (!has_symmetry(recipe.linears)) {
      return invalid(std::string("--symmetric, --asymmetric: the weights ") +
                     (is_table(recipe.linears) ? "are entries of a table" : "are not quantized"));
    }
    recipe.linears.scheme.weights->symmetric = *overrides.symmetric;
  }
  if (overrides.embed) {
    auto parsed = parse_layer_choice(*overrides.embed, std::nullopt);
    if (!parsed) return in_flag("--embed", parsed.error());
    recipe.embedding = *std::move(parsed);
    recipe.embedding.scheme.activations.reset();
  }
  if (overrides.head) {
    auto parsed = parse_classifier(*overrides.head, activations);
    if (!parsed) return in_flag("--head", parsed.error());
    recipe.classifier = *std::move(parsed);
  }
  const auto set = [&](const char* flag, std::string_view key,
                       const std::optional<std::string>& text) -> Status {
    if (!text) return {};
    const Status status = recipe_setting(key).parse(*text, recipe);
    return status ? Status() : Status(in_flag(flag, status.error()));
  };
  FPTQ_TRY_VOID(set("--rounding", "rounding", overrides.rounding));
  FPTQ_TRY_VOID(set("--scale-dtype", "scale_dtype", overrides.scale_dtype));
  FPTQ_TRY_VOID(set("--rotate", "rotate", overrides.rotate));
  FPTQ_TRY_VOID(set("--rotate-down", "rotate_down", overrides.rotate_down));
  FPTQ_TRY_VOID(set("--equalize", "equalize", overrides.equalize));
  FPTQ_TRY_VOID(set("--target-bpw", "target_bpw", overrides.target_bpw));
  FPTQ_TRY_VOID(set("--massive-inputs", "massive_inputs", overrides.massive_inputs));
  FPTQ_TRY_VOID(set("--calib", "calib", overrides.calib));
  FPTQ_TRY_VOID(set("--samples", "samples", overrides.samples));
  FPTQ_TRY_VOID(set("--seqlen", "seqlen", overrides.seqlen));
  FPTQ_TRY_VOID(set("--self-samples", "self_samples", overrides.self_samples));
  FPTQ_TRY_VOID(check_rounding(recipe));
  if (overrides.seed) recipe.seed = *overrides.seed;
  std::vector<LayerOverride> layers;
  for (const std::string& text : overrides.overrides) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos) {
      return invalid("--override " + in_quotes(text) + ": expected REGEX=SCHEME");
    }
    auto made = make_override(std::string_view(text).substr(0, equals),
                              std::string_view(text).substr(equals + 1), activations);
    if (!made) return in_flag("--override", made.error());
    layers.push_back(*std::move(made));
  }
  recipe.overrides.insert(recipe.overrides.begin(), layers.begin(), layers.end());
  return recipe;
}

}  // namespace fptq::quantize
