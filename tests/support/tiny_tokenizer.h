// Tokenizers made on the spot, so that tests need no files.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fptq::testing {

inline constexpr int kTinyUnk = 0;  // "<unk>"
inline constexpr int kTinyBos = 1;  // "<s>"
inline constexpr int kTinyEos = 2;  // "</s>"
inline constexpr std::size_t kTinyFirstByte = 3;
inline constexpr std::size_t kTinySmallestVocabulary = 300;

// The code point that stands for a byte in byte-level vocabularies: printable bytes stand for
// themselves, the others for 256, 257, ... in order.
inline int byte_level_code_point(int byte) {
  const auto printable = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  if (printable(byte)) return byte;
  int code_point = 256;
  for (int b = 0; b < byte; ++b) code_point += printable(b) ? 0 : 1;
  return code_point;
}

// `code_point` (below 0x10000) as the inside of a JSON string.
inline std::string json_escape(int code_point) {
  if (code_point >= 32 && code_point < 127 && code_point != '"' && code_point != '\\') {
    return {static_cast<char>(code_point)};
  }
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "\\u%04x", static_cast<unsigned>(code_point) & 0xffffu);
  return text.data();
}

// What a tokenizer.json says besides its model, with a post-processor that puts "<s>" in front.
inline std::string tiny_tokenizer_frame(std::string_view stages, std::string_view vocab,
                                        std::string_view merges, std::string_view model_options) {
  std::string json = R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)";
  const std::array<const char*, 3> special = {"<unk>", "<s>", "</s>"};
  for (std::size_t id = 0; id < special.size(); ++id) {
    json +=
        std::string(id == 0 ? "" : ",") + R"({"id":)" + std::to_string(id) + R"(,"content":")" +
        special[id] +
        R"(","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
  }
  json += "]," + std::string(stages);
  json +=
      R"(,"post_processor":{"type":"TemplateProcessing",)"
      R"("single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],)"
      R"("pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],)"
      R"("special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},)";
  json +=
      R"("model":{"type":"BPE","dropout":null,"unk_token":"<unk>","continuing_subword_prefix":null,)"
      R"("end_of_word_suffix":null,)" +
      std::string(model_options) + R"(,"vocab":{"<unk>":0,"<s>":1,"</s>":2)" + std::string(vocab) +
      R"(},"merges":[)" + std::string(merges) + "]}}";
  return json;
}

// A byte-level BPE with exactly `vocabulary_size` (>= 300) entries: the three special tokens, the
// 256 bytes (byte b has id 3 + b), then merges in breadth-first order over space and a..z:
// " a".." z", "aa".."zz", " aa", ... Any text round-trips. Encoding puts BOS in front where
// special tokens are asked for.
inline std::string tiny_tokenizer_json(std::size_t vocabulary_size) {
  if (vocabulary_size < kTinySmallestVocabulary) std::abort();
  std::string vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab += ",\"" + json_escape(byte_level_code_point(byte)) +
             "\":" + std::to_string(kTinyFirstByte + static_cast<std::size_t>(byte));
  }
  std::vector<std::string> words = {json_escape(byte_level_code_point(' '))};
  for (char letter = 'a'; letter <= 'z'; ++letter) words.emplace_back(1, letter);
  std::string merges;
  std::size_t next = kTinyFirstByte + 256;
  for (std::size_t w = 0; next < vocabulary_size; ++w) {
    for (char letter = 'a'; letter <= 'z' && next < vocabulary_size; ++letter, ++next) {
      std::string merged = words[w] + letter;
      vocab += ",\"" + merged + "\":" + std::to_string(next);
      merges +=
          std::string(merges.empty() ? "" : ",") + "[\"" + words[w] + "\",\"" + letter + "\"]";
      words.push_back(std::move(merged));
    }
  }
  return tiny_tokenizer_frame(
      R"("normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},)"
      R"("decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})",
      vocab, merges, R"("fuse_unk":false,"byte_fallback":false,"ignore_merges":false)");
}

// A tokenizer in the way of Llama 2's: one space in front of the text, spaces as U+2581, no words
// before merging, and byte tokens "<0x00>".."<0xFF>" (byte b has id 3 + b) for what the vocabulary
// lacks. Entries from 259: U+2581, a..z, "he", "ll", "hell",
// "hello", U+2581 a..U+2581 z.
inline std::string tiny_byte_fallback_tokenizer_json() {
  std::string vocab;
  std::size_t next = kTinyFirstByte;
  const auto add = [&](const std::string& token) {
    vocab += ",\"" + token + "\":" + std::to_string(next++);
  };
  for (int byte = 0; byte < 256; ++byte) {
    std::array<char, 8> token{};
    std::snprintf(token.data(), token.size(), "<0x%02X>", static_cast<unsigned>(byte) & 0xffu);
    add(token.data());
  }
  const std::string space = "\\u2581";
  std::string merges;
  const auto merge = [&](const std::string& left, const std::string& right) {
    add(left + right);
    merges += std::string(merges.empty() ? "" : ",") + "[\"" + left + "\",\"" + right + "\"]";
  };
  add(space);
  for (char letter = 'a'; letter <= 'z'; ++letter) add({letter});
  merge("h", "e");
  merge("l", "l");
  merge("he", "ll");
  merge("hell", "o");
  for (char letter = 'a'; letter <= 'z'; ++letter) merge(space, {letter});
  return tiny_tokenizer_frame(
      R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},)"
      R"({"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},"pre_tokenizer":null,)"
      R"("decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},)"
      R"({"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})",
      vocab, merges, R"("fuse_unk":true,"byte_fallback":true,"ignore_merges":false)");
}

}  // namespace fptq::testing
