// What config.json says about a Llama model.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/quant_config.h"

namespace fptq::model {

// How rotary position embeddings stretch beyond the trained context (model/rope_table.h).
enum class RopeKind { kDefault, kLinear, kDynamic, kYarn, kLlama3 };

// rope_parameters of transformers 5, or rope_theta and rope_scaling of older files. What the kind
// does not use keeps its default.
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;                     // all but kDefault
  std::size_t original_max_positions = 0;  // kYarn, kLlama3
  double low_freq_factor = 1.0;            // kLlama3
  double high_freq_factor = 4.0;           // kLlama3
  double beta_fast = 32.0;                 // kYarn
  double beta_slow = 1.0;                  // kYarn
  bool truncate = true;                    // kYarn
  std::optional<double> attention_factor;  // kYarn; else from mscale or factor
  std::optional<double> mscale;            // kYarn
  std::optional<double> mscale_all_dim;    // kYarn
};

// Every value has been checked: sizes are positive, products of sizes fit, and there is nothing
// in the file that would make the model compute another function.
struct LlamaConfig {
  std::string model_type;         // "llama" or "mistral"
  std::size_t vocab_size;         // V
  std::size_t hidden_size;        // D
  std::size_t intermediate_size;  // F
  std::size_t num_layers;
  std::size_t num_heads;           // H
  std::size_t num_kv_heads;        // Hkv, divides H
  std::size_t head_dim;            // Dh, even
  std::size_t max_positions;       // context length that the model was made for
  std::size_t sliding_window = 0;  // positions that a token sees, its own included; 0: all
  float rms_norm_eps;
  bool attention_bias = false;  // q, k, v and o projections have biases
  bool mlp_bias = false;        // gate, up and down projections have biases
  bool tied_embeddings = false;
  RopeConfig rope;
  std::vector<std::int32_t> eos_ids;  // may be empty
  std::optional<std::int32_t> bos_id;
  std::optional<QuantConfig> quantization;  // absent: every weight is a float matrix
  // Of each layer, the block of the Hadamard rotation of the inputs of down_proj, 0: none
  // (TransformConfig::down_rotations). Empty: no layer has one.
  std::vector<std::size_t> down_rotations;
  // What a user should know though it is no error: keys that nothing here understands.
  std::vector<std::string> warnings;

  [[nodiscard]] std::size_t q_width() const { return num_heads * head_dim; }
  [[nodiscard]] std::size_t kv_width() const { return num_kv_heads * head_dim; }
  // 0: none.
  [[nodiscard]] std::size_t down_rotation(std::size_t layer) const {
    return down_rotations.empty() ? 0 : down_rotations[layer];
  }
};

// Reads config.json as Llama and Mistral models publish it and as transformers writes it, key
// names before and after its version 5. A key that is absent has transformers' default where that
// does not decide the shape of a weight; the sizes of weights are required.
//
// `where` begins every message, the path of config.json.
// Errors: kFormat for a value of the wrong type or out of range ("where: hidden_size: expected an
// integer from 1 to 16777216, got 0") and for values that contradict each other; kUnsupported,
// by name, for another model_type, activation, rope type or quant_method and for every key known
// to change the function (partial_rotary_factor, logit scaling, attention multipliers, ...).
[[nodiscard]] Result<LlamaConfig> parse_llama_config(const Json& config, const std::string& where);

}  // namespace fptq::model
