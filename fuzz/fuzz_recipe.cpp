// Hostile recipes: whatever is accepted prints as a recipe that is read back the same, and its
// patterns can be searched for.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "quantize/layer_pattern.h"
#include "quantize/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto recipe = fptq::quantize::parse_recipe(text, "fuzz");
  if (!recipe) return 0;
  const auto again = fptq::quantize::parse_recipe(fptq::quantize::print_recipe(*recipe), "printed");
  FPTQ_CHECK(bool(again), "a printed recipe is a recipe");
  FPTQ_CHECK(*again == *recipe, "printing keeps every setting");
  for (const auto& layer : recipe->overrides) {
    const auto pattern = fptq::quantize::LayerPattern::compile(layer.pattern);
    FPTQ_CHECK(bool(pattern), "patterns of a recipe are checked");
    static_cast<void>(pattern->found_in("model.layers.11.self_attn.q_proj"));
  }
  return 0;
}
