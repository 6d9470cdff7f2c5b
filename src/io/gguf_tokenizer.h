// Turns vocabularies inside model files into Hugging Face's tokenizer files, so that there is one
// way to tokenize.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"

namespace fptq::io {

// The `tokenizer.*` metadata of a GGUF file, as it stands there. What is absent stays empty.
struct GgufVocabulary {
  std::string model;                      // tokenizer.ggml.model: "llama" or "gpt2"
  std::string pre;                        // tokenizer.ggml.pre: names the pre-tokenizer of "gpt2"
  std::vector<std::string> tokens;        // tokenizer.ggml.tokens: text by id
  std::vector<float> scores;              // tokenizer.ggml.scores: as many, or none
  std::vector<std::int32_t> token_types;  // tokenizer.ggml.token_type (spm_merges.h)
  std::vector<std::string> merges;        // tokenizer.ggml.merges: "left right", best first
  std::optional<std::int64_t> bos_id;     // tokenizer.ggml.bos_token_id
  std::optional<std::int64_t> eos_id;     // tokenizer.ggml.eos_token_id
  std::optional<std::int64_t> eot_id;     // tokenizer.ggml.eot_token_id
  std::optional<std::int64_t> unk_id;     // tokenizer.ggml.unknown_token_id
  std::optional<std::int64_t> pad_id;     // tokenizer.ggml.padding_token_id
  std::optional<bool> add_bos;            // tokenizer.ggml.add_bos_token
  std::optional<bool> add_eos;            // tokenizer.ggml.add_eos_token
  std::optional<bool> add_space_prefix;   // tokenizer.ggml.add_space_prefix
  std::optional<std::string> chat_template;  // tokenizer.chat_template
};

// tokenizer.json, and tokenizer_config.json and generation_config.json among the others, such that
// encoding gives the ids that the model was trained with.
//
//   llama   SentencePiece BPE. A merge of two pieces is as good as the score of the piece that it
//           makes; equal scores: the longer left piece first, as SentencePiece's converters do.
//   gpt2    byte-level BPE with the file's merges and the pre-tokenizer that `pre` names.
//
// `where` begins every message. Errors: kUnsupported for another model or an unknown `pre`, each by
// name; kFormat for lists of different lengths, ids outside the vocabulary, text that is not UTF-8,
// a merge that is not two tokens, and a token that stands there twice.
[[nodiscard]] Result<TokenizerFiles> tokenizer_from_gguf(const GgufVocabulary& vocabulary,
                                                         const std::string& where);

// The same for llama2.c's tokenizer.bin, which holds a SentencePiece vocabulary: pieces with
// U+2581 written as a space, ids 0, 1, 2 = unknown, BOS, EOS.
//
//   tokens  [V]  as the file has them
//   scores  [V]
[[nodiscard]] Result<TokenizerFiles> tokenizer_from_llama2c(std::span<const std::string> tokens,
                                                            std::span<const float> scores,
                                                            const std::string& where);

}  // namespace fptq::io
