// Hostile config.json: the model's configuration, its quantization and its rotary angles; and the
// quant_state of bitsandbytes.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "model/bitsandbytes_config.h"
#include "model/llama_config.h"
#include "model/rope_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  for (const fptq::CodeType type : {fptq::CodeType::kNf4, fptq::CodeType::kFp4}) {
    const auto state = fptq::model::parse_table_state(text, type, "fuzz");
    if (!state) continue;
    FPTQ_CHECK(state->shape.size() == 2 && std::isfinite(state->nested_offset),
               "a matrix with a finite offset");
  }
  const auto json = fptq::parse_json(text, "fuzz");
  if (!json) return 0;
  const auto quantization = fptq::model::QuantConfig::parse(*json, "fuzz");
  if (quantization) {
    for (const std::string_view name : {"model.layers.31.self_attn.q_proj", "lm_head"}) {
      static_cast<void>(quantization->find(name, fptq::model::ModuleKind::kLinear));
    }
  }
  const auto config = fptq::model::parse_llama_config(*json, "fuzz");
  if (!config) return 0;
  FPTQ_CHECK(config->num_heads % config->num_kv_heads == 0, "heads form groups");
  FPTQ_CHECK(config->head_dim % 2 == 0, "heads rotate in pairs");
  const fptq::model::RopeFrequencies frequencies(config->rope, config->head_dim,
                                                 config->max_positions);
  const std::vector<float> inverse = frequencies.inverse_frequencies(1000);
  std::vector<float> cos(inverse.size());
  std::vector<float> sin(inverse.size());
  frequencies.angles(999, inverse, cos.data(), sin.data());
  return 0;
}
