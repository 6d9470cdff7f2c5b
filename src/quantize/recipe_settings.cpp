#include "quantize/recipe_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>

#include "base/check.h"
#include "quantize/recipe_fields.h"

namespace fptq::quantize {
namespace {

Error bad_value(std::string_view key, std::string_view text, const std::string& expected) {
  return invalid(std::string(key) + " " + in_quotes(text) + ": expected " + expected);
}

Status parse_whole(std::string_view key, std::string_view text, std::uint64_t least,
                   std::uint64_t most, const std::string& range, std::uint64_t& value) {
  std::uint64_t parsed = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, parsed);
  if (failure != std::errc() || stop != end || parsed < least || parsed > most) {
    return bad_value(key, text, "a number from " + range);
  }
  value = parsed;
  return {};
}

Status parse_real(std::string_view key, std::string_view text, double least, double most,
                  const std::string& range, double& value) {
  double parsed = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, parsed);
  if (failure != std::errc() || stop != end || !(parsed >= least && parsed <= most)) {
    return bad_value(key, text, "a number from " + range);
  }
  value = parsed;
  return {};
}

Status parse_switch(std::string_view key, std::string_view text, bool& value) {
  if (text != "true" && text != "false") return bad_value(key, text, "true or false");
  value = text == "true";
  return {};
}

// The shortest text that reads back as the same number.
std::string real_text(double value) {
  std::array<char, 32> text{};
  const auto [end, failure] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end};
}

std::string switch_text(bool value) {
  return value ? "true" : "false";
}

bool always(const Recipe& /*recipe*/) {
  return true;
}
bool uses_gptq(const Recipe& recipe) {
  return recipe.rounding == algo::Rounding::kGptq;
}
bool calibrates(const Recipe& recipe) {
  return recipe.needs_calibration();
}
bool has_target(const Recipe& recipe) {
  return recipe.has_target();
}
// Keys of calibration are printed together: who reads a recipe sees what is off, too.
bool transforms(const Recipe& recipe) {
  return recipe.needs_calibration() || recipe.rotation != RotationKind::kNone;
}

// In the order of algo::GridChoice.
constexpr std::array<std::string_view, 3> kGridChoices = {"range", "diagonal", "factor"};

Status parse_grids(std::string_view text, Recipe& recipe) {
  const auto found = std::find(kGridChoices.begin(), kGridChoices.end(), text);
  if (found == kGridChoices.end()) return bad_value("grids", text, listed(kGridChoices));
  recipe.calibrated.grids = static_cast<algo::GridChoice>(found - kGridChoices.begin());
  return {};
}

// In the order of RotationKind.
constexpr std::array<std::string_view, 3> kRotations = {"none", "hadamard", "auto"};

//   known  how many of the kinds the key has
Status parse_rotation(std::string_view key, std::string_view text, std::size_t known,
                      RotationKind& rotation) {
  const std::span<const std::string_view> names = std::span(kRotations).first(known);
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) {
    return bad_value(key, text, known == 2 ? "none or hadamard" : "none, hadamard or auto");
  }
  rotation = static_cast<RotationKind>(found - names.begin());
  return {};
}

std::string rotation_text(RotationKind rotation) {
  return std::string(kRotations[static_cast<std::size_t>(rotation)]);
}

Status parse_policy(std::string_view text, Recipe& recipe) {
  constexpr std::string_view kKey = "activation_policy";
  if (text == "none") {
    recipe.activation_policy.reset();
    return {};
  }
  const std::size_t comma = text.find(',');
  algo::ActivationThresholds thresholds;
  const auto number = [&](std::string_view part, double& value) {
    return part.empty() ? Status(bad_value(kKey, text, "none, or two numbers like 15,150"))
                        : parse_real(kKey, part, 0, 1e30, "0 to 1e30", value);
  };
  FPTQ_TRY_VOID(number(text.substr(0, comma), thresholds.v0));
  FPTQ_TRY_VOID(
      number(comma == std::string_view::npos ? "" : text.substr(comma + 1), thresholds.v1));
  FPTQ_TRY_VOID(algo::check_thresholds(thresholds));
  recipe.activation_policy = thresholds;
  return {};
}

// Longer texts than a path can be are no paths, and one line of YAML has to hold it.
bool is_calibration_text(std::string_view text) {
  return !text.empty() && text.size() <= 4096 && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '\x7f';
  });
}

constexpr std::array<RecipeSetting, 24> kSettings = {{
    {"rounding",
     [](std::string_view text, Recipe& recipe) -> Status {
       FPTQ_TRY(recipe.rounding, algo::parse_rounding(text));
       return {};
     },
     [](const Recipe& recipe) { return std::string(algo::rounding_name(recipe.rounding)); },
     always},
    {"damping",
     [](std::string_view text, Recipe& recipe) {
       return parse_real("damping", text, 0, 10, "0 to 10", recipe.calibrated.damping);
     },
     [](const Recipe& recipe) { return real_text(recipe.calibrated.damping); }, uses_gptq},
    {"act_order",
     [](std::string_view text, Recipe& recipe) {
       return parse_switch("act_order", text, recipe.calibrated.act_order);
     },
     [](const Recipe& recipe) { return switch_text(recipe.calibrated.act_order); }, uses_gptq},
    {"grids", parse_grids,
     [](const Recipe& recipe) {
       return std::string(kGridChoices[static_cast<std::size_t>(recipe.calibrated.grids)]);
     },
     uses_gptq},
    {"alternations",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("alternations", text, 0, 100, "0 to 100", recipe.calibrated.alternations);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.calibrated.alternations); },
     uses_gptq},
    {"correction",
     [](std::string_view text, Recipe& recipe) {
       return parse_real("correction", text, 0, 2, "0 to 2", recipe.calibrated.correction);
     },
     [](const Recipe& recipe) { return real_text(recipe.calibrated.correction); }, uses_gptq},
    {"residual_correction",
     [](std::string_view text, Recipe& recipe) {
       return parse_real("residual_correction", text, 0, 2, "0 to 2",
                         recipe.calibrated.residual_correction);
     },
     [](const Recipe& recipe) { return real_text(recipe.calibrated.residual_correction); },
     uses_gptq},
    {"refit",
     [](std::string_view text, Recipe& recipe) {
       return parse_switch("refit", text, recipe.calibrated.refit);
     },
     [](const Recipe& recipe) { return switch_text(recipe.calibrated.refit); }, uses_gptq},
    {"descent_passes",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("descent_passes", text, 0, 100, "0 to 100",
                          recipe.calibrated.descent_passes);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.calibrated.descent_passes); },
     uses_gptq},
    {"rotate",
     [](std::string_view text, Recipe& recipe) {
       return parse_rotation("rotate", text, 2, recipe.rotation);
     },
     [](const Recipe& recipe) { return rotation_text(recipe.rotation); }, transforms},
    {"rotate_down",
     [](std::string_view text, Recipe& recipe) {
       return parse_rotation("rotate_down", text, 3, recipe.down_rotation);
     },
     [](const Recipe& recipe) { return rotation_text(recipe.down_rotation); },
     [](const Recipe& recipe) { return recipe.down_rotation != RotationKind::kNone; }},
    {"equalize",
     [](std::string_view text, Recipe& recipe) -> Status {
       FPTQ_TRY(recipe.equalization, parse_equalization(text));
       return {};
     },
     [](const Recipe& recipe) { return std::string(equalization_name(recipe.equalization)); },
     transforms},
    {"smoothquant_alpha",
     [](std::string_view text, Recipe& recipe) {
       return parse_real("smoothquant_alpha", text, 0, 1, "0 to 1", recipe.smoothquant_alpha);
     },
     [](const Recipe& recipe) { return real_text(recipe.smoothquant_alpha); },
     [](const Recipe& recipe) { return recipe.equalization == Equalization::kSmoothQuant; }},
    {"activation_policy", parse_policy,
     [](const Recipe& recipe) {
       const auto& policy = recipe.activation_policy;
       return policy ? real_text(policy->v0) + "," + real_text(policy->v1) : std::string("none");
     },
     [](const Recipe& recipe) { return recipe.activation_policy.has_value(); }},
    {"target_bpw",
     [](std::string_view text, Recipe& recipe) {
       return parse_real("target_bpw", text, 0, 32, "0 to 32", recipe.precision.bits_per_weight);
     },
     [](const Recipe& recipe) { return real_text(recipe.precision.bits_per_weight); }, has_target},
    {"massive_inputs",
     [](std::string_view text, Recipe& recipe) -> Status {
       if (text != "a8" && text != "a16") return bad_value("massive_inputs", text, "a8 or a16");
       recipe.precision.float_massive = text == "a16";
       return {};
     },
     [](const Recipe& recipe) {
       return std::string(recipe.precision.float_massive ? "a16" : "a8");
     },
     [](const Recipe& recipe) { return recipe.has_target() && recipe.precision.float_massive; }},
    {"sensitivity_samples",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("sensitivity_samples", text, 1, 1000, "1 to 1000",
                          recipe.precision.samples);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.precision.samples); },
     [](const Recipe& recipe) {
       return recipe.has_target() || recipe.down_rotation == RotationKind::kAuto;
     }},
    {"calib",
     [](std::string_view text, Recipe& recipe) -> Status {
       if (!is_calibration_text(text)) {
         return bad_value("calib", text, "self, or the path of a file on one line");
       }
       recipe.calibration.text = text;
       return {};
     },
     [](const Recipe& recipe) { return single_quoted(recipe.calibration.text); }, calibrates},
    {"samples",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("samples", text, 1, 1'000'000, "1 to 1000000",
                          recipe.calibration.samples);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.calibration.samples); }, calibrates},
    {"seqlen",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("seqlen", text, 2, 1'000'000, "2 to 1000000", recipe.calibration.seqlen);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.calibration.seqlen); }, calibrates},
    {"self_samples",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("self_samples", text, 0, 1'000'000, "0 to 1000000",
                          recipe.calibration.self_samples);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.calibration.self_samples); },
     [](const Recipe& recipe) {
       return recipe.needs_calibration() && recipe.calibration.text != "self";
     }},
    {"scale_dtype",
     [](std::string_view text, Recipe& recipe) -> Status {
       FPTQ_TRY(recipe.scale_dtype, parse_scale_dtype(text));
       return {};
     },
     [](const Recipe& recipe) {
       return std::string(recipe.scale_dtype ? float_type_name(*recipe.scale_dtype) : "auto");
     },
     always},
    {"seed",
     [](std::string_view text, Recipe& recipe) {
       return parse_whole("seed", text, 0, ~std::uint64_t{0}, "0 to 2^64 - 1", recipe.seed);
     },
     [](const Recipe& recipe) { return std::to_string(recipe.seed); }, always},
    {"name",
     [](std::string_view text, Recipe& recipe) -> Status {
       const auto plain = [](char c) {
         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '_' || c == '-';
       };
       if (text.empty() || text.size() > 64 || !std::all_of(text.begin(), text.end(), plain)) {
         return bad_value("name", text, "at most 64 letters, digits, dots, dashes and underscores");
       }
       recipe.name = text;
       return {};
     },
     [](const Recipe& recipe) { return recipe.name; },
     [](const Recipe& /*recipe*/) { return false; }},  // printed before all others
}};

constexpr std::array<std::pair<std::string_view, Equalization>, 4> kEqualizations = {{
    {"none", Equalization::kNone},
    {"lae", Equalization::kLae},
    {"smoothquant", Equalization::kSmoothQuant},
    {"awq", Equalization::kAwq},
}};

}  // namespace

std::span<const RecipeSetting> recipe_settings() {
  return kSettings;
}

const RecipeSetting& recipe_setting(std::string_view key) {
  const auto found = std::find_if(kSettings.begin(), kSettings.end(),
                                  [&](const RecipeSetting& setting) { return setting.key == key; });
  FPTQ_CHECK(found != kSettings.end(), "a setting of the table");
  return *found;
}

std::string_view equalization_name(Equalization equalization) {
  for (const auto& [name, value] : kEqualizations) {
    if (value == equalization) return name;
  }
  return "unknown";
}

Result<Equalization> parse_equalization(std::string_view name) {
  for (const auto& [known, value] : kEqualizations) {
    if (known == name) return value;
  }
  return invalid("equalize " + in_quotes(name) + ": expected none, lae, smoothquant or awq");
}

bool Recipe::calibrates_rounding() const {
  return rounding == algo::Rounding::kGptq || rounding == algo::Rounding::kSearch;
}

bool Recipe::has_static_activations() const {
  const auto is_static = [](const LayerChoice& choice) {
    return choice.scheme.activations && !choice.scheme.activations->dynamic;
  };
  return activation_policy.has_value() || is_static(linears) || is_static(classifier) ||
         std::any_of(overrides.begin(), overrides.end(),
                     [&](const LayerOverride& layer) { return is_static(layer.choice); });
}

bool Recipe::observes_inputs() const {
  return equalization != Equalization::kNone || activation_policy.has_value();
}

bool Recipe::rounds_in_blocks() const {
  return calibrates_rounding() || has_static_activations();
}

bool Recipe::needs_calibration() const {
  return rounds_in_blocks() || observes_inputs() || has_target() ||
         down_rotation == RotationKind::kAuto;
}

}  // namespace fptq::quantize
