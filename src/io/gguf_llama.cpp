#include "io/gguf_llama.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <utility>

#include "io/gguf_metadata.h"

namespace fptq::io {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kLayerNames = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

Error unsupported(const std::string& where, const std::string& what) {
  return Error{Error::Kind::kUnsupported, where + ": " + what + " is not supported"};
}

// The double nearest to the shortest decimal that is this float32: 1e-05 rather than
// 9.99999974737875e-06, as the original config.json had it.
double shortest(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value || !std::isfinite(value)) return value;
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), narrow).ptr;
  double result = value;
  std::from_chars(text.data(), end, result);
  return result;
}

const GgufTensor* find_tensor(std::span<const GgufTensor> tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const GgufTensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

// The shape of the network.
struct Sizes {
  std::uint64_t width, ffn_width, layers, heads, kv_heads, head_dim, vocab, context;
};

Result<Sizes> read_sizes(const GgufMetadata& metadata, std::span<const GgufTensor> tensors,
                         const std::string& where) {
  Sizes sizes{};
  FPTQ_TRY(sizes.width, metadata.required_size("llama.embedding_length"));
  FPTQ_TRY(sizes.ffn_width, metadata.required_size("llama.feed_forward_length"));
  FPTQ_TRY(sizes.layers, metadata.required_size("llama.block_count"));
  FPTQ_TRY(sizes.heads, metadata.required_size("llama.attention.head_count"));
  FPTQ_TRY(sizes.context, metadata.required_size("llama.context_length"));
  FPTQ_TRY(const auto kv_heads, metadata.size("llama.attention.head_count_kv"));
  sizes.kv_heads = kv_heads.value_or(sizes.heads);
  if (sizes.heads == 0 || sizes.kv_heads == 0) {
    return metadata.error("llama.attention.head_count", "expected at least 1 head, got 0");
  }
  FPTQ_TRY(const auto key_width, metadata.size("llama.attention.key_length"));
  FPTQ_TRY(const auto value_width, metadata.size("llama.attention.value_length"));
  if (!key_width && sizes.width % sizes.heads != 0) {
    return metadata.error("llama.attention.head_count", "expected a divisor of the width " +
                                                            std::to_string(sizes.width) + ", got " +
                                                            std::to_string(sizes.heads));
  }
  sizes.head_dim = key_width.value_or(sizes.width / sizes.heads);
  if (value_width.value_or(sizes.head_dim) != sizes.head_dim) {
    return unsupported(where, "attention with keys of width " + std::to_string(sizes.head_dim) +
                                  " and values of width " + std::to_string(*value_width));
  }
  const GgufTensor* embedding = find_tensor(tensors, "token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return Error{Error::Kind::kFormat, where +
                                           ": tensor \"token_embd.weight\": expected a matrix, "
                                           "got " +
                                           (embedding == nullptr ? std::string("no tensor")
                                                                 : shape_text(embedding->shape))};
  }
  sizes.vocab = embedding->shape[0];
  return sizes;
}

Status refuse_what_is_no_llama(const GgufMetadata& metadata, const Sizes& sizes,
                               const std::string& where) {
  FPTQ_TRY(const auto experts, metadata.size("llama.expert_count"));
  if (experts.value_or(0) != 0) return unsupported(where, "a mixture of experts");
  FPTQ_TRY(const auto rotated, metadata.size("llama.rope.dimension_count"));
  if (rotated.value_or(sizes.head_dim) != sizes.head_dim) {
    return unsupported(where, "rotary embedding of " + std::to_string(*rotated) + " of " +
                                  std::to_string(sizes.head_dim) + " dimensions of a head");
  }
  FPTQ_TRY(const auto window, metadata.size("llama.attention.sliding_window"));
  if (window.value_or(0) != 0 && *window < sizes.context) {
    return unsupported(where, "sliding-window attention");
  }
  FPTQ_TRY(const auto causal, metadata.boolean("llama.attention.causal"));
  if (!causal.value_or(true)) return unsupported(where, "attention that is not causal");
  return {};
}

// yarn's part of rope_scaling. llama.cpp multiplies its own attention factor
// 0.1 ln(factor) + 1 by the one of the file.
Status add_yarn(const GgufMetadata& metadata, std::uint64_t context, double factor, Json& scaling) {
  FPTQ_TRY(const auto original, metadata.size("llama.rope.scaling.original_context_length"));
  scaling["original_max_position_embeddings"] = original.value_or(context);
  FPTQ_TRY(auto attention, metadata.real("llama.rope.scaling.yarn_attn_factor"));
  if (!attention) {
    FPTQ_TRY(attention, metadata.real("llama.rope.scaling.attn_factor"));
  }
  if (attention.value_or(1.0) != 1.0) {
    scaling["attention_factor"] = shortest(*attention) * (0.1 * std::log(factor) + 1.0);
  }
  FPTQ_TRY(const auto fast, metadata.real("llama.rope.scaling.yarn_beta_fast"));
  FPTQ_TRY(const auto slow, metadata.real("llama.rope.scaling.yarn_beta_slow"));
  if (fast) scaling["beta_fast"] = shortest(*fast);
  if (slow) scaling["beta_slow"] = shortest(*slow);
  return {};
}

Result<Json> rope_scaling_of_metadata(const GgufMetadata& metadata, const Sizes& sizes,
                                      const std::string& where) {
  constexpr std::string_view kTypeKey = "llama.rope.scaling.type";
  FPTQ_TRY(const auto type, metadata.text(kTypeKey));
  FPTQ_TRY(auto factor, metadata.real("llama.rope.scaling.factor"));
  if (!factor) {
    FPTQ_TRY(factor, metadata.real("llama.rope.scale_linear"));
  }
  const std::string name = type.value_or(factor ? "linear" : "none");
  if (name != "none" && name != "linear" && name != "yarn") {
    return unsupported(where, "RoPE scaling \"" + name + "\"");
  }
  // llama.cpp writes a factor of 0 for none.
  if (name == "none" || factor.value_or(0.0) == 0.0) return Json();
  if (!(*factor > 0.0) || !std::isfinite(*factor)) {
    return metadata.error("llama.rope.scaling.factor",
                          "expected a number above 0, got " + std::to_string(*factor));
  }
  if (name == "linear" && *factor == 1.0) return Json();
  Json scaling = {{"rope_type", name}, {"factor", shortest(*factor)}};
  if (name == "yarn") FPTQ_TRY_VOID(add_yarn(metadata, sizes.context, *factor, scaling));
  return scaling;
}

Result<Json> rope_scaling(const GgufMetadata& metadata, const Sizes& sizes, double theta,
                          std::span<const float> factors, const std::string& where) {
  FPTQ_TRY(Json scaling, rope_scaling_of_metadata(metadata, sizes, where));
  const bool all_one = std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1; });
  if (all_one) return scaling;
  const std::string tensor = "tensor \"" + std::string(kGgufRopeFactors) + "\"";
  if (!scaling.is_null()) return unsupported(where, tensor + " together with RoPE scaling");
  if (factors.size() != sizes.head_dim / 2) {
    return Error{Error::Kind::kFormat, where + ": " + tensor + ": expected " +
                                           std::to_string(sizes.head_dim / 2) + " factors, got " +
                                           std::to_string(factors.size())};
  }
  const auto fitted = fit_llama3_rope(factors, theta);
  if (!fitted) {
    return Error{Error::Kind::kUnsupported,
                 where + ": " + tensor +
                     ": expected the factors of llama3's RoPE scaling (low and high frequency "
                     "factors 1 and 4), got others"};
  }
  return Json{{"rope_type", "llama3"},
              {"factor", fitted->factor},
              {"low_freq_factor", 1.0},
              {"high_freq_factor", 4.0},
              {"original_max_position_embeddings", fitted->original_context}};
}

// The type that the values of most matrices are read as.
std::string_view torch_dtype(std::span<const GgufTensor> tensors) {
  const GgufTensor* query = find_tensor(tensors, "blk.0.attn_q.weight");
  if (query != nullptr && query->type == GgmlType::kF16) return "float16";
  if (query != nullptr && query->type == GgmlType::kBF16) return "bfloat16";
  return "float32";
}

// factors[i] for llama3 scaling with these parameters; w: wavelength of frequency i.
double llama3_factor(const Llama3Rope& rope, double w) {
  const auto context = static_cast<double>(rope.original_context);
  if (w < context / 4.0) return 1.0;
  if (w > context) return rope.factor;
  const double smooth = (context / w - 1.0) / 3.0;
  return 1.0 / ((1.0 - smooth) / rope.factor + smooth);
}

}  // namespace

std::optional<std::string> hf_name_of_gguf(std::string_view name) {
  if (name == "token_embd.weight") return "model.embed_tokens.weight";
  if (name == "output_norm.weight") return "model.norm.weight";
  if (name == "output.weight") return "lm_head.weight";
  constexpr std::string_view kPrefix = "blk.";
  if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view layer = name.substr(0, dot);
  const bool number = !layer.empty() && layer.size() <= 9 &&
                      layer.find_first_not_of("0123456789") == std::string_view::npos &&
                      (layer == "0" || layer.front() != '0');
  const std::string_view rest = name.substr(dot + 1);
  const std::size_t suffix = rest.rfind('.');
  if (!number || suffix == std::string_view::npos) return std::nullopt;
  const std::string_view kind = rest.substr(suffix);
  if (kind != ".weight" && kind != ".bias") return std::nullopt;
  for (const auto& [gguf, hf] : kLayerNames) {
    if (rest.substr(0, suffix) == gguf) {
      return "model.layers." + std::string(layer) + "." + std::string(hf) + std::string(kind);
    }
  }
  return std::nullopt;
}

std::optional<Llama3Rope> fit_llama3_rope(std::span<const float> rope_factors, double theta) {
  if (rope_factors.empty()) return std::nullopt;
  const auto width = static_cast<double>(2 * rope_factors.size());
  const auto wavelength = [&](std::size_t i) {
    return 2.0 * std::numbers::pi * std::pow(theta, 2.0 * static_cast<double>(i) / width);
  };
  // Wavelengths grow, so the last factor is f.
  const auto factor = static_cast<double>(rope_factors.back());
  if (!(factor > 1.0) || !std::isfinite(factor)) return std::nullopt;
  const auto matches = [&](const Llama3Rope& rope) {
    for (std::size_t i = 0; i < rope_factors.size(); ++i) {
      const double expected = llama3_factor(rope, wavelength(i));
      if (!(std::abs(static_cast<double>(rope_factors[i]) - expected) <= 1e-4 * expected)) {
        return false;
      }
    }
    return true;
  };
  // Meta's context first; where factors are only 1 and f, many contexts give the same model.
  std::vector<double> contexts = {8192.0};
  for (std::size_t i = 0; i < rope_factors.size(); ++i) {
    const auto r = static_cast<double>(rope_factors[i]);
    if (!(r > 1.0 && r < factor)) continue;
    const double smooth = (1.0 / r - 1.0 / factor) / (1.0 - 1.0 / factor);
    contexts.push_back(std::round(wavelength(i) * (3.0 * smooth + 1.0)));
  }
  for (double power = 1.0; power < 0x1p30; power *= 2.0) contexts.push_back(power);
  for (const double context : contexts) {
    if (!(context >= 1.0 && context < 0x1p40)) continue;
    const Llama3Rope rope{factor, static_cast<std::uint64_t>(context)};
    if (matches(rope)) return rope;
  }
  return std::nullopt;
}

Result<Json> llama_config_of_gguf(const GgufFile& file, std::span<const GgufTensor> tensors,
                                  std::span<const float> rope_factors, const std::string& where) {
  const GgufMetadata metadata(file, where);
  FPTQ_TRY(const auto architecture, metadata.text("general.architecture"));
  if (!architecture) {
    return metadata.error("general.architecture", "expected it in the file, got none");
  }
  if (*architecture != "llama") return unsupported(where, "architecture \"" + *architecture + "\"");
  FPTQ_TRY(const Sizes sizes, read_sizes(metadata, tensors, where));
  FPTQ_TRY_VOID(refuse_what_is_no_llama(metadata, sizes, where));
  FPTQ_TRY(const auto epsilon, metadata.real("llama.attention.layer_norm_rms_epsilon"));
  if (!epsilon) {
    return metadata.error("llama.attention.layer_norm_rms_epsilon",
                          "expected it in the file, got none");
  }
  FPTQ_TRY(const auto base, metadata.real("llama.rope.freq_base"));
  const double theta = shortest(base.value_or(10000.0));
  FPTQ_TRY(Json scaling, rope_scaling(metadata, sizes, theta, rope_factors, where));
  FPTQ_TRY(const auto bos, metadata.size("tokenizer.ggml.bos_token_id"));
  FPTQ_TRY(const auto eos, metadata.size("tokenizer.ggml.eos_token_id"));

  const auto has = [&](std::string_view name) { return find_tensor(tensors, name) != nullptr; };
  Json config = {{"architectures", Json::array({"LlamaForCausalLM"})},
                 {"model_type", "llama"},
                 {"hidden_size", sizes.width},
                 {"intermediate_size", sizes.ffn_width},
                 {"num_hidden_layers", sizes.layers},
                 {"num_attention_heads", sizes.heads},
                 {"num_key_value_heads", sizes.kv_heads},
                 {"head_dim", sizes.head_dim},
                 {"vocab_size", sizes.vocab},
                 {"max_position_embeddings", sizes.context},
                 {"hidden_act", "silu"},
                 {"rms_norm_eps", shortest(*epsilon)},
                 {"rope_theta", theta},
                 {"rope_scaling", std::move(scaling)},
                 {"attention_bias", has("blk.0.attn_q.bias") || has("blk.0.attn_output.bias")},
                 {"mlp_bias", has("blk.0.ffn_gate.bias") || has("blk.0.ffn_down.bias")},
                 {"tie_word_embeddings", !has("output.weight")},
                 {"torch_dtype", torch_dtype(tensors)}};
  if (bos) config["bos_token_id"] = *bos;
  if (eos) config["eos_token_id"] = *eos;
  return config;
}

Result<GgufVocabulary> vocabulary_of_gguf(const GgufFile& file, const std::string& where) {
  const GgufMetadata metadata(file, where);
  GgufVocabulary vocabulary;
  FPTQ_TRY(const auto model, metadata.text("tokenizer.ggml.model"));
  FPTQ_TRY(const auto pre, metadata.text("tokenizer.ggml.pre"));
  FPTQ_TRY(vocabulary.tokens, metadata.texts("tokenizer.ggml.tokens"));
  if (!model || vocabulary.tokens.empty()) {
    return Error{Error::Kind::kNotFound,
                 where +
                     ": expected a vocabulary in tokenizer.ggml.tokens, got none. Convert the "
                     "model again together with its tokenizer"};
  }
  vocabulary.model = *model;
  vocabulary.pre = pre.value_or("");
  FPTQ_TRY(vocabulary.scores, metadata.reals("tokenizer.ggml.scores"));
  FPTQ_TRY(vocabulary.token_types, metadata.integers("tokenizer.ggml.token_type"));
  FPTQ_TRY(vocabulary.merges, metadata.texts("tokenizer.ggml.merges"));
  const std::array<std::pair<std::string_view, std::optional<std::int64_t>*>, 5> ids = {{
      {"tokenizer.ggml.bos_token_id", &vocabulary.bos_id},
      {"tokenizer.ggml.eos_token_id", &vocabulary.eos_id},
      {"tokenizer.ggml.eot_token_id", &vocabulary.eot_id},
      {"tokenizer.ggml.unknown_token_id", &vocabulary.unk_id},
      {"tokenizer.ggml.padding_token_id", &vocabulary.pad_id},
  }};
  for (const auto& [key, id] : ids) {
    FPTQ_TRY(const auto value, metadata.size(key));
    // An id that fits no int64 is outside every vocabulary, as is -1.
    if (value) *id = *value > INT64_MAX ? -1 : static_cast<std::int64_t>(*value);
  }
  FPTQ_TRY(vocabulary.add_bos, metadata.boolean("tokenizer.ggml.add_bos_token"));
  FPTQ_TRY(vocabulary.add_eos, metadata.boolean("tokenizer.ggml.add_eos_token"));
  FPTQ_TRY(vocabulary.add_space_prefix, metadata.boolean("tokenizer.ggml.add_space_prefix"));
  FPTQ_TRY(vocabulary.chat_template, metadata.text("tokenizer.chat_template"));
  return vocabulary;
}

}  // namespace fptq::io
