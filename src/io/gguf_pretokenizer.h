// How each byte-level vocabulary in GGUF files cuts text into words before merging.

#pragma once

#include <string>
#include <string_view>

namespace fptq::io {

// What `tokenizer.ggml.pre` stands for.
struct GgufPretokenizer {
  std::string_view name;       // tokenizer.ggml.pre
  std::string_view regex;      // a match is a word; empty: GPT-2's own words
  bool splits_digits = false;  // each digit is a word, before anything else
  bool composes = false;       // the text is brought to Unicode's NFC first
  bool ignore_merges = false;  // a word that is a token needs no merges
  bool adds_bos = false;       // where the file has no tokenizer.ggml.add_bos_token
};

// The entry of that name, or null.
[[nodiscard]] const GgufPretokenizer* find_gguf_pretokenizer(std::string_view name);

// Every name, for messages: "gpt-2, default, ...".
[[nodiscard]] std::string gguf_pretokenizer_names();

}  // namespace fptq::io
