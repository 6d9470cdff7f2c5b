// Reading a recipe from YAML.

#include <algorithm>
#include <array>
#include <vector>

#include "base/yaml.h"
#include "quantize/recipe.h"
#include "quantize/recipe_fields.h"
#include "quantize/recipe_settings.h"

namespace fptq::quantize {
namespace {

constexpr std::array<std::string_view, 6> kLayerKeys = {"weights", "symmetric", "activations",
                                                        "embed",   "head",      "overrides"};

// Every key of a recipe's mapping.
std::vector<std::string_view> recipe_keys() {
  std::vector<std::string_view> keys(kLayerKeys.begin(), kLayerKeys.end());
  for (const RecipeSetting& setting : recipe_settings()) keys.push_back(setting.key);
  return keys;
}

// Whether a scheme's short name spells out the symmetry of the weights.
bool names_symmetry(std::string_view text) {
  return text.find("-sym") != std::string_view::npos ||
         text.find("-asym") != std::string_view::npos;
}

// Reads the entries of a recipe's mapping, each with its place in every message.
class RecipeReader {
 public:
  RecipeReader(const YamlNode& root, const std::string& where) : root_(root), where_(where) {}

  Result<Recipe> read() const {
    const std::vector<std::string_view> keys = recipe_keys();
    if (root_.kind != YamlNode::Kind::kMapping) {
      return root_.error(where_, "expected a mapping with the keys " + listed(keys) + "; got " +
                                     std::string(root_.kind_name()));
    }
    for (std::size_t i = 0; i < root_.keys.size(); ++i) {
      const std::string& key = root_.keys[i];
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        return root_.items[i].error(where_,
                                    "unknown key " + in_quotes(key) + "; expected " + listed(keys));
      }
    }
    FPTQ_TRY(Recipe recipe, builtin_recipe("rtn"));
    recipe.name = "custom";
    FPTQ_TRY_VOID(read_layers(recipe));
    for (const RecipeSetting& setting : recipe_settings()) {
      const auto parse = [&](std::string_view text) { return setting.parse(text, recipe); };
      FPTQ_TRY_VOID(with_scalar(std::string(setting.key), parse));
    }
    if (const Status checked = check_rounding(recipe); !checked) {
      return with_context(checked.error(), root_.place(where_));
    }
    return recipe;
  }

 private:
  Status read_layers(Recipe& recipe) const {
    std::optional<QuantArgs> activations = a8_dynamic_per_token();
    FPTQ_TRY_VOID(with_scalar("activations", [&](std::string_view text) -> Status {
      FPTQ_TRY(activations, parse_activations(text));
      return {};
    }));
    if (find("weights") == nullptr) {
      return root_.error(where_, "expected the key weights, for example w4g32");
    }
    bool symmetry_named = false;
    FPTQ_TRY_VOID(with_scalar("weights", [&](std::string_view text) -> Status {
      symmetry_named = names_symmetry(text);
      FPTQ_TRY(recipe.linears, parse_weights(text, activations));
      return {};
    }));
    if (is_table(recipe.linears)) {
      recipe.embedding = recipe.classifier = LayerChoice{};
      if (find("activations") == nullptr) activations.reset();
      if (activations) {
        return with_context(float_activations_only(recipe.linears),
                            find("activations")->place(where_) + ": activations");
      }
    }
    FPTQ_TRY_VOID(with_scalar("symmetric", [&](std::string_view text) -> Status {
      if (text != "true" && text != "false") {
        return invalid("symmetric " + in_quotes(text) + ": expected true or false");
      }
      auto& weights = recipe.linears.scheme.weights;
      if (!weights) return invalid("symmetric: the weights are not quantized");
      if (is_table(recipe.linears)) return invalid("symmetric: the weights are entries of a table");
      const bool symmetric = text == "true";
      if (symmetry_named && weights->symmetric != symmetric) {
        return invalid("symmetric: contradicts the key weights");
      }
      weights->symmetric = symmetric;
      return {};
    }));
    FPTQ_TRY_VOID(with_scalar("embed", [&](std::string_view text) -> Status {
      FPTQ_TRY(recipe.embedding, parse_layer_choice(text, std::nullopt));
      recipe.embedding.scheme.activations.reset();
      return {};
    }));
    if (recipe.classifier.scheme.weights) {
      recipe.classifier.scheme.activations = made_dynamic(activations);
    }
    FPTQ_TRY_VOID(with_scalar("head", [&](std::string_view text) -> Status {
      FPTQ_TRY(recipe.classifier, parse_classifier(text, activations));
      return {};
    }));
    return read_overrides(activations, recipe);
  }

  Status read_overrides(const std::optional<QuantArgs>& activations, Recipe& recipe) const {
    const YamlNode* list = find("overrides");
    if (list == nullptr) return {};
    if (list->kind != YamlNode::Kind::kSequence) {
      return list->error(where_,
                         "overrides: expected a sequence, got " + std::string(list->kind_name()));
    }
    for (const YamlNode& item : list->items) {
      const YamlNode* match = nullptr;
      const YamlNode* scheme = nullptr;
      for (std::size_t i = 0; i < item.keys.size(); ++i) {
        const std::string& key = item.keys[i];
        const YamlNode& value = item.items[i];
        if (key != "match" && key != "scheme") {
          return value.error(where_, "unknown key " + in_quotes(key) + "; expected match, scheme");
        }
        if (value.kind != YamlNode::Kind::kScalar) {
          return value.error(where_,
                             key + ": expected a value, got " + std::string(value.kind_name()));
        }
        (key == "match" ? match : scheme) = &value;
      }
      if (match == nullptr || scheme == nullptr) {
        return item.error(where_, "overrides: expected a mapping with the keys match and scheme");
      }
      auto made = make_override(match->scalar, scheme->scalar, activations);
      if (!made) return with_context(made.error(), item.place(where_));
      recipe.overrides.push_back(*std::move(made));
    }
    return {};
  }

  const YamlNode* find(std::string_view key) const {
    const auto place = std::find(root_.keys.begin(), root_.keys.end(), key);
    return place == root_.keys.end()
               ? nullptr
               : &root_.items[static_cast<std::size_t>(place - root_.keys.begin())];
  }

  // Calls use(text) where the key is there; puts the value's place before use()'s message.
  template <typename Use>
  Status with_scalar(const std::string& key, const Use& use) const {
    const YamlNode* node = find(key);
    if (node == nullptr) return {};
    if (node->kind != YamlNode::Kind::kScalar) {
      return node->error(where_, key + ": expected a value, got " + std::string(node->kind_name()));
    }
    Status status = use(node->scalar);
    if (!status) return with_context(status.error(), node->place(where_));
    return {};
  }

  const YamlNode& root_;
  const std::string& where_;
};

}  // namespace

Result<Recipe> parse_recipe(std::string_view yaml, const std::string& where) {
  FPTQ_TRY(const YamlNode root, parse_yaml(yaml, where));
  return RecipeReader(root, where).read();
}

}  // namespace fptq::quantize
