// The settings of a recipe that are single values: one table for reading, printing and listing.

#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

struct RecipeSetting {
  std::string_view key;  // of the YAML file
  // Reads the value. Errors: kInvalidArgument, naming key, what was expected and what was found.
  Status (*parse)(std::string_view text, Recipe& recipe);
  std::string (*print)(const Recipe& recipe);
  // Whether a printed recipe says it: a setting that nothing reads is left out.
  bool (*matters)(const Recipe& recipe);
};

// rounding, scale_dtype, seed, and everything that calibration reads, in the order of printing.
[[nodiscard]] std::span<const RecipeSetting> recipe_settings();

// The setting of that key. It has to exist.
[[nodiscard]] const RecipeSetting& recipe_setting(std::string_view key);

}  // namespace fptq::quantize
