#include "model/llama_config.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "model/json_fields.h"

namespace fptq::model {
namespace {

using Kind = Error::Kind;

// Far above any model; far below what overflows a product of two sizes.
constexpr std::size_t kMaxAxis = std::size_t{1} << 24;
constexpr std::size_t kMaxLayers = 65536;
constexpr std::size_t kMaxHeads = 65536;
constexpr std::size_t kMaxHeadDim = 65536;
constexpr std::size_t kMaxPositions = std::size_t{1} << 31;
constexpr std::size_t kMaxTokenId = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxEosIds = 1024;
constexpr double kMaxReal = 1e30;

// Keys that are there in ordinary files and do not change the function, or are read below.
constexpr std::array<std::string_view, 72> kKnownKeys = {"architectures",
                                                         "model_type",
                                                         "vocab_size",
                                                         "hidden_size",
                                                         "intermediate_size",
                                                         "num_hidden_layers",
                                                         "num_attention_heads",
                                                         "num_key_value_heads",
                                                         "head_dim",
                                                         "max_position_embeddings",
                                                         "sliding_window",
                                                         "rms_norm_eps",
                                                         "attention_bias",
                                                         "mlp_bias",
                                                         "tie_word_embeddings",
                                                         "rope_theta",
                                                         "rope_scaling",
                                                         "rope_parameters",
                                                         "hidden_act",
                                                         "bos_token_id",
                                                         "eos_token_id",
                                                         "pad_token_id",
                                                         "unk_token_id",
                                                         "quantization_config",
                                                         "pretraining_tp",
                                                         "initializer_range",
                                                         "use_cache",
                                                         "attention_dropout",
                                                         "torch_dtype",
                                                         "dtype",
                                                         "transformers_version",
                                                         "_name_or_path",
                                                         "auto_map",
                                                         "is_llama_config",
                                                         "name_or_path",
                                                         "output_attentions",
                                                         "output_hidden_states",
                                                         "return_dict",
                                                         "torchscript",
                                                         "use_bfloat16",
                                                         "tf_legacy_loss",
                                                         "pruned_heads",
                                                         "chunk_size_feed_forward",
                                                         "is_encoder_decoder",
                                                         "is_decoder",
                                                         "cross_attention_hidden_size",
                                                         "add_cross_attention",
                                                         "tie_encoder_decoder",
                                                         "finetuning_task",
                                                         "id2label",
                                                         "label2id",
                                                         "tokenizer_class",
                                                         "prefix",
                                                         "sep_token_id",
                                                         "decoder_start_token_id",
                                                         "task_specific_params",
                                                         "problem_type",
                                                         "max_length",
                                                         "min_length",
                                                         "do_sample",
                                                         "temperature",
                                                         "top_k",
                                                         "top_p",
                                                         "repetition_penalty",
                                                         "max_sequence_length",
                                                         "unsloth_version",
                                                         "unsloth_fixed",
                                                         "_attn_implementation_autoset",
                                                         "_attn_implementation",
                                                         "_flash_attn_2_enabled",
                                                         "transformers.js_config",
                                                         "model_max_length"};

// Keys that make a relative of Llama compute something else, and the value that changes nothing.
struct NeutralKey {
  std::string_view key;
  double neutral;  // as a number; false is 0
};
constexpr std::array<NeutralKey, 26> kNeutralKeys = {{{"partial_rotary_factor", 1.0},
                                                      {"rotary_pct", 1.0},
                                                      {"attention_multiplier", -1.0},
                                                      {"query_pre_attn_scalar", -1.0},
                                                      {"embedding_multiplier", 1.0},
                                                      {"residual_multiplier", 1.0},
                                                      {"logits_scaling", 1.0},
                                                      {"logit_scale", 1.0},
                                                      {"logits_scale", 1.0},
                                                      {"scale_emb", 1.0},
                                                      {"scale_depth", -1.0},
                                                      {"dim_model_base", -1.0},
                                                      {"final_logit_softcapping", 0.0},
                                                      {"attn_logit_softcapping", 0.0},
                                                      {"clip_qkv", 0.0},
                                                      {"use_qk_norm", 0.0},
                                                      {"qk_norm", 0.0},
                                                      {"qk_layernorm", 0.0},
                                                      {"use_parallel_residual", 0.0},
                                                      {"parallel_attn", 0.0},
                                                      {"alibi", 0.0},
                                                      {"num_local_experts", 0.0},
                                                      {"num_experts", 0.0},
                                                      {"n_routed_experts", 0.0},
                                                      {"attention_chunk_size", 0.0},
                                                      {"rope_interleaved", 0.0}}};

Status check_neutral_keys(const JsonFields& fields) {
  for (const NeutralKey& neutral : kNeutralKeys) {
    if (!fields.has(neutral.key)) continue;
    const Json& value = *fields.raw(neutral.key);
    const bool same = value.is_boolean()  ? (value.get<bool>() ? 1.0 : 0.0) == neutral.neutral
                      : value.is_number() ? value.get<double>() == neutral.neutral
                                          : false;
    if (same) continue;
    return fields.unexpected(Kind::kUnsupported, neutral.key,
                             neutral.neutral == 1.0   ? "null or 1 (Llama has no such step)"
                             : neutral.neutral == 0.0 ? "null or 0 (Llama has no such step)"
                                                      : "null (Llama has no such step)");
  }
  return {};
}

Status check_layer_types(const JsonFields& fields) {
  if (!fields.has("layer_types")) return {};
  const Json& types = *fields.raw("layer_types");
  const bool all_full =
      types.is_array() && std::all_of(types.begin(), types.end(),
                                      [](const Json& type) { return type == "full_attention"; });
  if (all_full) return {};
  return fields.unexpected(Kind::kUnsupported, "layer_types", "\"full_attention\" for every layer");
}

std::vector<std::string> unknown_key_warnings(const JsonFields& fields) {
  std::string names;
  std::size_t count = 0;
  for (const auto& [key, value] : fields.object().items()) {
    const bool known =
        std::find(kKnownKeys.begin(), kKnownKeys.end(), key) != kKnownKeys.end() ||
        key == "layer_types" ||
        std::any_of(kNeutralKeys.begin(), kNeutralKeys.end(),
                    [&key = key](const NeutralKey& neutral) { return neutral.key == key; });
    if (known || value.is_null()) continue;
    if (++count <= 8) names += (names.empty() ? "" : ", ") + key.substr(0, 60);
  }
  if (count == 0) return {};
  if (count > 8) names += " and " + std::to_string(count - 8) + " more";
  return {fields.where() + ": keys without a meaning for Llama models were ignored: " + names};
}

Status read_sizes(const JsonFields& fields, LlamaConfig& config) {
  FPTQ_TRY(config.vocab_size, fields.required_integer("vocab_size", 1, kMaxAxis));
  FPTQ_TRY(config.hidden_size, fields.required_integer("hidden_size", 1, kMaxAxis));
  FPTQ_TRY(config.intermediate_size, fields.required_integer("intermediate_size", 1, kMaxAxis));
  FPTQ_TRY(config.num_layers, fields.required_integer("num_hidden_layers", 1, kMaxLayers));
  FPTQ_TRY(config.num_heads, fields.required_integer("num_attention_heads", 1, kMaxHeads));
  const bool mistral = config.model_type == "mistral";
  FPTQ_TRY(const std::optional<std::size_t> kv_heads,
           fields.integer("num_key_value_heads", 1, kMaxHeads));
  // Of a key that is absent transformers knows a default for Mistral; null means no grouping.
  const bool absent = fields.raw("num_key_value_heads") == nullptr;
  config.num_kv_heads = kv_heads.value_or(mistral && absent ? 8 : config.num_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    return fields.unexpected(
        Kind::kFormat, "num_key_value_heads",
        "a divisor of num_attention_heads (" + std::to_string(config.num_heads) + ")");
  }
  FPTQ_TRY(const std::optional<std::size_t> head_dim, fields.integer("head_dim", 1, kMaxHeadDim));
  if (!head_dim && config.hidden_size % config.num_heads != 0) {
    return fields.unexpected(
        Kind::kFormat, "num_attention_heads",
        "a divisor of hidden_size (" + std::to_string(config.hidden_size) + ") or a head_dim");
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_heads);
  if (config.head_dim == 0 || config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    return Error{Kind::kFormat, fields.where() + ": head_dim: expected an even number from 2 to " +
                                    std::to_string(kMaxHeadDim) + ", got " +
                                    std::to_string(config.head_dim)};
  }
  if (config.q_width() > kMaxAxis) {
    return Error{Kind::kFormat,
                 fields.where() + ": num_attention_heads * head_dim: expected at most " +
                     std::to_string(kMaxAxis) + ", got " + std::to_string(config.q_width())};
  }
  FPTQ_TRY(const std::optional<std::size_t> positions,
           fields.integer("max_position_embeddings", 1, kMaxPositions));
  config.max_positions = positions.value_or(mistral ? 131072 : 2048);
  return {};
}

Status read_window(const JsonFields& fields, LlamaConfig& config) {
  if (config.model_type != "mistral") {
    if (!fields.has("sliding_window")) return {};
    return fields.unexpected(Kind::kUnsupported, "sliding_window",
                             "null for model_type \"" + config.model_type + "\"");
  }
  FPTQ_TRY(const std::optional<std::size_t> window,
           fields.integer("sliding_window", 1, kMaxPositions));
  // transformers' default of a key that is absent; null turns the window off.
  constexpr std::size_t kDefaultWindow = 4096;
  config.sliding_window =
      window.value_or(fields.raw("sliding_window") == nullptr ? kDefaultWindow : 0);
  return {};
}

// Published files write -1 for "none".
bool stands_for_none(const Json& id) {
  return id.is_number_integer() && !is_whole_number(id);
}

Status read_token_ids(const JsonFields& fields, LlamaConfig& config) {
  const auto valid = [](const Json& id) {
    return stands_for_none(id) || (is_whole_number(id) && id.get<std::uint64_t>() <= kMaxTokenId);
  };
  if (fields.has("eos_token_id")) {
    const Json& entry = *fields.raw("eos_token_id");
    const Json ids = entry.is_array() ? entry : Json::array({entry});
    if (ids.size() > kMaxEosIds || !std::all_of(ids.begin(), ids.end(), valid)) {
      return fields.unexpected(Kind::kFormat, "eos_token_id", "token ids");
    }
    for (const Json& id : ids) {
      if (!stands_for_none(id)) config.eos_ids.push_back(id.get<std::int32_t>());
    }
  }
  if (fields.has("bos_token_id")) {
    const Json& id = *fields.raw("bos_token_id");
    if (!valid(id)) return fields.unexpected(Kind::kFormat, "bos_token_id", "a token id");
    if (!stands_for_none(id)) config.bos_id = id.get<std::int32_t>();
  }
  return {};
}

Status read_flags(const JsonFields& fields, LlamaConfig& config) {
  FPTQ_TRY(const std::optional<double> eps, fields.number("rms_norm_eps", 1e-30, 1.0));
  config.rms_norm_eps = static_cast<float>(eps.value_or(1e-6));
  FPTQ_TRY(const std::optional<bool> attention_bias, fields.boolean("attention_bias"));
  FPTQ_TRY(const std::optional<bool> mlp_bias, fields.boolean("mlp_bias"));
  FPTQ_TRY(const std::optional<bool> tied, fields.boolean("tie_word_embeddings"));
  config.attention_bias = attention_bias.value_or(false);
  config.mlp_bias = mlp_bias.value_or(false);
  config.tied_embeddings = tied.value_or(false);
  if (config.model_type == "mistral" && (config.attention_bias || config.mlp_bias)) {
    return fields.unexpected(Kind::kUnsupported,
                             config.attention_bias ? "attention_bias" : "mlp_bias",
                             "false for model_type \"mistral\"");
  }
  FPTQ_TRY(const std::optional<std::string> activation, fields.text("hidden_act"));
  if (activation && *activation != "silu" && *activation != "swish") {
    return fields.unexpected(Kind::kUnsupported, "hidden_act", "\"silu\"");
  }
  // Sums of slices: the same function for every value.
  FPTQ_TRY(const std::optional<std::size_t> slices, fields.integer("pretraining_tp", 0, 65536));
  (void)slices;
  return {};
}

struct RopeKindName {
  std::string_view name;
  RopeKind kind;
};
constexpr std::array<RopeKindName, 5> kRopeKinds = {{{"default", RopeKind::kDefault},
                                                     {"linear", RopeKind::kLinear},
                                                     {"dynamic", RopeKind::kDynamic},
                                                     {"yarn", RopeKind::kYarn},
                                                     {"llama3", RopeKind::kLlama3}}};

// Without a type only theta may be there. What a factor was meant for would be a guess, and so
// would one function for layers that have a set of parameters each.
Status check_unnamed_rope(const JsonFields& rope) {
  for (const auto& [key, value] : rope.object().items()) {
    if (value.is_object()) {
      return rope.unexpected(Kind::kUnsupported, key, "one set of parameters for all layers");
    }
  }
  if (!rope.has("factor")) return {};
  return rope.unexpected(Kind::kFormat, "rope_type",
                         "default, linear, dynamic, yarn or llama3 beside a factor");
}

Result<RopeKind> read_rope_kind(const JsonFields& rope) {
  // "type" is the name before transformers 4.43.
  const std::string_view key = rope.has("rope_type") ? "rope_type" : "type";
  FPTQ_TRY(const std::optional<std::string> name, rope.text(key));
  if (!name) {
    FPTQ_TRY_VOID(check_unnamed_rope(rope));
    return RopeKind::kDefault;
  }
  for (const RopeKindName& kind : kRopeKinds) {
    if (kind.name == *name) return kind.kind;
  }
  return rope.unexpected(Kind::kUnsupported, key, "default, linear, dynamic, yarn or llama3");
}

Status read_yarn(const JsonFields& rope, RopeConfig& config) {
  FPTQ_TRY(config.attention_factor, rope.number("attention_factor", 0.0, kMaxReal));
  FPTQ_TRY(config.mscale, rope.number("mscale", 0.0, kMaxReal));
  FPTQ_TRY(config.mscale_all_dim, rope.number("mscale_all_dim", 0.0, kMaxReal));
  FPTQ_TRY(const std::optional<double> fast, rope.number("beta_fast", 0.0, kMaxReal));
  FPTQ_TRY(const std::optional<double> slow, rope.number("beta_slow", 0.0, kMaxReal));
  FPTQ_TRY(const std::optional<bool> truncate, rope.boolean("truncate"));
  // 0 counts as absent there too.
  if (fast.value_or(0.0) > 0.0) config.beta_fast = *fast;
  if (slow.value_or(0.0) > 0.0) config.beta_slow = *slow;
  config.truncate = truncate.value_or(true);
  if (config.beta_fast < config.beta_slow) {
    return rope.unexpected(Kind::kFormat, "beta_fast", "at least beta_slow");
  }
  return {};
}

Status read_llama3(const JsonFields& rope, RopeConfig& config) {
  FPTQ_TRY(config.low_freq_factor, rope.required_number("low_freq_factor", 1e-6, kMaxReal));
  FPTQ_TRY(config.high_freq_factor, rope.required_number("high_freq_factor", 1e-6, kMaxReal));
  if (config.high_freq_factor > config.low_freq_factor) return {};
  return rope.unexpected(Kind::kFormat, "high_freq_factor", "more than low_freq_factor");
}

// What each kind needs besides theta. `rope` is rope_parameters or rope_scaling.
Status read_rope_scaling(const JsonFields& rope, std::size_t max_positions, RopeConfig& config) {
  FPTQ_TRY(config.kind, read_rope_kind(rope));
  FPTQ_TRY(const std::optional<double> partial, rope.number("partial_rotary_factor", 0.0, 1.0));
  if (partial && *partial != 1.0) {
    return rope.unexpected(Kind::kUnsupported, "partial_rotary_factor", "1");
  }
  if (config.kind == RopeKind::kDefault) return {};
  FPTQ_TRY(const std::optional<std::size_t> original,
           rope.integer("original_max_position_embeddings", 1, kMaxPositions));
  config.original_max_positions = original.value_or(max_positions);
  FPTQ_TRY(const std::optional<double> factor, rope.number("factor", 1.0, 1e6));
  if (!factor && !(config.kind == RopeKind::kYarn && original)) {
    return rope.unexpected(Kind::kFormat, "factor", "a number from 1.0 to 1000000.0");
  }
  config.factor = factor.value_or(static_cast<double>(max_positions) /
                                  static_cast<double>(config.original_max_positions));
  if (config.kind == RopeKind::kLlama3) {
    if (!original) {
      return rope.unexpected(Kind::kFormat, "original_max_position_embeddings",
                             "an integer from 1 to " + std::to_string(kMaxPositions));
    }
    return read_llama3(rope, config);
  }
  return config.kind == RopeKind::kYarn ? read_yarn(rope, config) : Status();
}

Status read_rope(const JsonFields& fields, LlamaConfig& config) {
  // Above 1, so that its logarithm is a positive number (YaRN divides by it).
  constexpr double kSmallestTheta = 1.0 + 1e-6;
  FPTQ_TRY(const std::optional<double> old_theta,
           fields.number("rope_theta", kSmallestTheta, kMaxReal));
  std::optional<double> theta = old_theta;
  // transformers 5 writes rope_parameters with everything in it; rope_scaling is older. Where a
  // file has both, the newer key is what was written last.
  const std::string_view key = fields.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (fields.has(key)) {
    FPTQ_TRY(const JsonFields rope,
             JsonFields::open(*fields.raw(key), fields.where() + ": " + std::string(key)));
    FPTQ_TRY_VOID(read_rope_scaling(rope, config.max_positions, config.rope));
    FPTQ_TRY(const std::optional<double> inner_theta,
             rope.number("rope_theta", kSmallestTheta, kMaxReal));
    if (inner_theta) theta = inner_theta;
  }
  config.rope.theta = theta.value_or(10000.0);
  if (config.rope.kind == RopeKind::kDynamic && config.head_dim == 2) {
    return Error{Kind::kUnsupported,
                 fields.where() + ": head_dim: expected at least 4 with dynamic RoPE, got 2"};
  }
  return {};
}

}  // namespace

Result<LlamaConfig> parse_llama_config(const Json& json, const std::string& where) {
  FPTQ_TRY(const JsonFields fields, JsonFields::open(json, where));
  LlamaConfig config{};
  FPTQ_TRY(const std::optional<std::string> model_type, fields.text("model_type"));
  if (model_type != "llama" && model_type != "mistral") {
    return fields.unexpected(Kind::kUnsupported, "model_type", "\"llama\" or \"mistral\"");
  }
  config.model_type = *model_type;
  FPTQ_TRY_VOID(check_neutral_keys(fields));
  FPTQ_TRY_VOID(check_layer_types(fields));
  FPTQ_TRY_VOID(read_sizes(fields, config));
  FPTQ_TRY_VOID(read_window(fields, config));
  FPTQ_TRY_VOID(read_flags(fields, config));
  FPTQ_TRY_VOID(read_rope(fields, config));
  FPTQ_TRY_VOID(read_token_ids(fields, config));
  if (fields.has("quantization_config")) {
    FPTQ_TRY(config.quantization, QuantConfig::parse(*fields.raw("quantization_config"),
                                                     where + ": quantization_config"));
    FPTQ_TRY(config.down_rotations, config.quantization->transforms().down_rotations(
                                        config.num_layers, config.intermediate_size));
  }
  config.warnings = unknown_key_warnings(fields);
  return config;
}

}  // namespace fptq::model
