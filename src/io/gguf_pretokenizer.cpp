#include "io/gguf_pretokenizer.h"

#include <array>

namespace fptq::io {
namespace {

// The regexes of the published tokenizer.json files. Llama 3 takes digits in threes.
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Qwen 2 takes digits one by one.
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Mistral's Tekken also cuts where upper case follows lower case.
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::array kPretokenizers = {
    GgufPretokenizer{.name = "gpt-2", .regex = {}},
    GgufPretokenizer{.name = "default", .regex = {}},
    GgufPretokenizer{.name = "mpt", .regex = {}},
    GgufPretokenizer{.name = "olmo", .regex = {}},
    GgufPretokenizer{.name = "jais", .regex = {}},
    GgufPretokenizer{.name = "smollm", .regex = {}, .splits_digits = true},
    GgufPretokenizer{.name = "starcoder", .regex = {}, .splits_digits = true},
    GgufPretokenizer{.name = "refact", .regex = {}, .splits_digits = true},
    GgufPretokenizer{.name = "command-r", .regex = {}, .splits_digits = true},
    GgufPretokenizer{.name = "codeshell", .regex = {}, .splits_digits = true},
    GgufPretokenizer{
        .name = "llama-bpe", .regex = kLlama3, .ignore_merges = true, .adds_bos = true},
    GgufPretokenizer{.name = "llama3", .regex = kLlama3, .ignore_merges = true, .adds_bos = true},
    GgufPretokenizer{.name = "llama-v3", .regex = kLlama3, .ignore_merges = true, .adds_bos = true},
    GgufPretokenizer{.name = "dbrx", .regex = kLlama3},
    GgufPretokenizer{.name = "smaug-bpe", .regex = kLlama3},
    GgufPretokenizer{.name = "qwen2", .regex = kQwen2, .composes = true},
    GgufPretokenizer{.name = "deepseek-r1-qwen", .regex = kQwen2, .composes = true},
    GgufPretokenizer{.name = "tekken", .regex = kTekken, .ignore_merges = true, .adds_bos = true},
};

}  // namespace

const GgufPretokenizer* find_gguf_pretokenizer(std::string_view name) {
  for (const GgufPretokenizer& entry : kPretokenizers) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

std::string gguf_pretokenizer_names() {
  std::string names;
  for (const GgufPretokenizer& entry : kPretokenizers) {
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return names;
}

}  // namespace fptq::io
