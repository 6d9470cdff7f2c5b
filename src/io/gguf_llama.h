// What llama.cpp's conventions for Llama models in GGUF files mean in Hugging Face's terms.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "io/gguf.h"
#include "io/gguf_tokenizer.h"

namespace fptq::io {

// Holds llama3's RoPE scaling as a factor per frequency; belongs to the configuration.
inline constexpr std::string_view kGgufRopeFactors = "rope_freqs.weight";

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; nothing for a name that is
// not one of a Llama model's.
[[nodiscard]] std::optional<std::string> hf_name_of_gguf(std::string_view name);

// config.json derived from `llama.*` metadata and from which tensors there are.
//
//   tensors       of all parts of a split model
//   rope_factors  [Dh / 2] values of rope_freqs.weight, or empty
//
// Errors: kUnsupported names an architecture other than llama, experts, a RoPE scaling or another
// property that fptq does not compute; kFormat for keys that are missing, have another type, or
// contradict each other or the tensors.
[[nodiscard]] Result<Json> llama_config_of_gguf(const GgufFile& file,
                                                std::span<const GgufTensor> tensors,
                                                std::span<const float> rope_factors,
                                                const std::string& where);

// The `tokenizer.*` metadata. Errors: kNotFound where there is none; kFormat for other types.
[[nodiscard]] Result<GgufVocabulary> vocabulary_of_gguf(const GgufFile& file,
                                                        const std::string& where);

// The parameters of llama3's RoPE scaling (low and high frequency factors 1 and 4).
struct Llama3Rope {
  double factor;
  std::uint64_t original_context;
};

// Finds the parameters whose factors, computed as llama.cpp's converter does, are `rope_factors`:
//
//   w_i = 2 pi theta^(2i/Dh);  r_i = 1 if w_i < C/4;  f if w_i > C;
//   else 1 / ((1 - s) / f + s) with s = (C / w_i - 1) / 3
//
//   rope_factors  [Dh / 2]
//   returns       f and C, or nothing where no such pair gives the factors to 1e-4
[[nodiscard]] std::optional<Llama3Rope> fit_llama3_rope(std::span<const float> rope_factors,
                                                        double theta);

}  // namespace fptq::io
