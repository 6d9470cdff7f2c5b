#include "io/gguf_tokenizer.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/utf8.h"
#include "io/gguf_pretokenizer.h"
#include "io/spm_merges.h"

namespace fptq::io {
namespace {

constexpr std::size_t kMaxVocabulary = std::size_t{1} << 24;
constexpr std::string_view kSpace = "\u2581";  // how SentencePiece writes a space

Error format_error(const std::string& what) {
  return Error{Error::Kind::kFormat, what};
}

// `text`, which is UTF-8, as a JSON string.
std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump();
}

// The same where `text` may be anything.
std::string shown(std::string_view text) {
  return invalid_utf8_at(text) ? "text that is not UTF-8" : json_string(text);
}

std::string token_name(std::size_t id, std::string_view text) {
  return "token " + std::to_string(id) + " " + json_string(text);
}

// A vocabulary whose ids, types and texts have been checked.
struct Checked {
  const GgufVocabulary* source;
  TokenIds id_of;
  std::vector<std::int32_t> types;

  [[nodiscard]] const std::string& text(std::size_t id) const { return source->tokens[id]; }
  [[nodiscard]] std::size_t size() const { return types.size(); }
};

Status check_id(const std::optional<std::int64_t>& id, std::size_t size, const char* key) {
  if (!id || (*id >= 0 && static_cast<std::uint64_t>(*id) < size)) return {};
  return format_error(std::string("tokenizer.ggml.") + key + ": expected an id below " +
                      std::to_string(size) + ", got " + std::to_string(*id));
}

bool looks_like_byte(std::string_view text) {
  return text.size() == 6 && text.substr(0, 3) == "<0x" && text.back() == '>';
}

// The types as the file gives them, or what the texts and special ids say where it does not.
std::vector<std::int32_t> types_of(const GgufVocabulary& vocabulary) {
  if (!vocabulary.token_types.empty()) return vocabulary.token_types;
  std::vector<std::int32_t> types(vocabulary.tokens.size(), GgufTokenType::kNormal);
  if (vocabulary.model == "llama") {
    for (std::size_t id = 0; id < types.size(); ++id) {
      if (looks_like_byte(vocabulary.tokens[id])) types[id] = GgufTokenType::kByte;
    }
  }
  for (const auto& id :
       {vocabulary.bos_id, vocabulary.eos_id, vocabulary.eot_id, vocabulary.pad_id}) {
    if (id) types[static_cast<std::size_t>(*id)] = GgufTokenType::kControl;
  }
  if (vocabulary.unk_id)
    types[static_cast<std::size_t>(*vocabulary.unk_id)] = GgufTokenType::kUnknown;
  return types;
}

Result<Checked> check(const GgufVocabulary& vocabulary) {
  const std::size_t size = vocabulary.tokens.size();
  if (size == 0 || size > kMaxVocabulary) {
    return format_error("tokenizer.ggml.tokens: expected 1 to " + std::to_string(kMaxVocabulary) +
                        " tokens, got " + std::to_string(size));
  }
  if (!vocabulary.token_types.empty() && vocabulary.token_types.size() != size) {
    return format_error("tokenizer.ggml.token_type: expected " + std::to_string(size) +
                        " values, as many as tokens, got " +
                        std::to_string(vocabulary.token_types.size()));
  }
  FPTQ_TRY_VOID(check_id(vocabulary.bos_id, size, "bos_token_id"));
  FPTQ_TRY_VOID(check_id(vocabulary.eos_id, size, "eos_token_id"));
  FPTQ_TRY_VOID(check_id(vocabulary.eot_id, size, "eot_token_id"));
  FPTQ_TRY_VOID(check_id(vocabulary.unk_id, size, "unknown_token_id"));
  FPTQ_TRY_VOID(check_id(vocabulary.pad_id, size, "padding_token_id"));

  Checked checked{&vocabulary, {}, types_of(vocabulary)};
  checked.id_of.reserve(size);
  for (std::size_t id = 0; id < size; ++id) {
    const std::string& text = vocabulary.tokens[id];
    if (const auto at = invalid_utf8_at(text)) {
      return format_error("token " + std::to_string(id) + ": byte " + std::to_string(*at) +
                          " is not UTF-8");
    }
    const auto [place, is_new] = checked.id_of.emplace(text, id);
    if (!is_new) {
      return format_error(token_name(id, text) +
                          ": expected a text of its own, got that of token " +
                          std::to_string(place->second));
    }
  }
  return checked;
}

// "left right" of tokenizer.ggml.merges, in the file's order.
Result<std::vector<Merge>> listed_merges(const Checked& vocabulary) {
  const std::vector<std::string>& lines = vocabulary.source->merges;
  std::vector<Merge> merges;
  merges.reserve(lines.size());
  std::string joined;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    const std::size_t space = line.find(' ', 1);
    const std::string_view left = line.substr(0, space);
    const std::string_view right = space == line.npos ? "" : line.substr(space + 1);
    joined.assign(left).append(right);
    const auto left_id = vocabulary.id_of.find(left);
    const auto right_id = vocabulary.id_of.find(right);
    if (right.empty() || left_id == vocabulary.id_of.end() || right_id == vocabulary.id_of.end() ||
        vocabulary.id_of.count(joined) == 0) {
      return format_error("tokenizer.ggml.merges: line " + std::to_string(i) +
                          ": expected two tokens, a space between them, whose joined text is a "
                          "token, got " +
                          shown(line));
    }
    merges.push_back({left_id->second, right_id->second});
  }
  return merges;
}

// What differs between the two kinds of vocabulary, as pieces of tokenizer.json.
struct Shape {
  std::string stages;         // "normalizer", "pre_tokenizer" and "decoder" members
  std::string model_options;  // members of "model" besides vocab and merges
  bool adds_bos;
  bool adds_eos;
  bool special_is_normalized;  // see sentencepiece_shape()
  std::vector<Merge> merges;
};

Result<Shape> sentencepiece_shape(const Checked& vocabulary) {
  const GgufVocabulary& source = *vocabulary.source;
  const std::string space = json_string(kSpace);
  const bool prefix = source.add_space_prefix.value_or(true);
  const std::string replace =
      R"({"type":"Replace","pattern":{"String":" "},"content":)" + space + "}";

  Shape shape;
  shape.stages = R"("normalizer":{"type":"Sequence","normalizers":[)" +
                 (prefix ? R"({"type":"Prepend","prepend":)" + space + "}," : std::string()) +
                 replace + R"(]},"pre_tokenizer":null,"decoder":{"type":"Sequence","decoders":[)" +
                 R"({"type":"Replace","pattern":{"String":)" + space + R"(},"content":" "},)" +
                 R"({"type":"ByteFallback"},{"type":"Fuse"})" +
                 (prefix ? R"(,{"type":"Strip","content":" ","start":1,"stop":0})" : "") + "]}";
  const std::size_t unk = static_cast<std::size_t>(source.unk_id.value_or(0));
  const bool has_unk = source.unk_id || vocabulary.types[unk] == GgufTokenType::kUnknown;
  shape.model_options = R"("unk_token":)" +
                        (has_unk ? json_string(vocabulary.text(unk)) : std::string("null")) +
                        R"(,"fuse_unk":true,"byte_fallback":true,"ignore_merges":false)";
  shape.adds_bos = source.add_bos.value_or(true);
  shape.adds_eos = source.add_eos.value_or(false);
  // Llama 2's own tokenizer.json finds a special token only where a word could begin ("a</s>" is
  // plain text), and so do we, unless the file has a chat template: templates write "</s>" right
  // behind the text.
  shape.special_is_normalized = !source.chat_template;
  FPTQ_TRY(shape.merges,
           merges_from_scores(source.tokens, vocabulary.id_of, source.scores, vocabulary.types));
  return shape;
}

Result<Shape> byte_level_shape(const Checked& vocabulary) {
  const GgufVocabulary& source = *vocabulary.source;
  const GgufPretokenizer* pre = find_gguf_pretokenizer(source.pre);
  if (pre == nullptr) {
    return Error{Error::Kind::kUnsupported,
                 "tokenizer.ggml.pre: expected one of " + gguf_pretokenizer_names() + ", got " +
                     (source.pre.empty() ? "none" : shown(source.pre)) +
                     ". A directory with the model's own tokenizer.json works"};
  }
  const bool splits = !pre->regex.empty();
  std::string words;
  if (pre->splits_digits) words += R"({"type":"Digits","individual_digits":true},)";
  if (splits) {
    words += R"({"type":"Split","pattern":{"Regex":)" + json_string(pre->regex) +
             R"(},"behavior":"Isolated","invert":false},)";
  }
  words += R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":)" +
           std::string(splits ? "false" : "true") + "}";

  Shape shape;
  shape.stages = R"("normalizer":)" + std::string(pre->composes ? R"({"type":"NFC"})" : "null") +
                 R"(,"pre_tokenizer":{"type":"Sequence","pretokenizers":[)" + words +
                 R"(]},"decoder":{"type":"ByteLevel","add_prefix_space":true,)"
                 R"("trim_offsets":true,"use_regex":true})";
  // No unknown token, whatever the file says: byte-level vocabularies drop bytes they lack.
  shape.model_options = R"("unk_token":null,"fuse_unk":false,"byte_fallback":false,)"
                        R"("ignore_merges":)" +
                        std::string(pre->ignore_merges ? "true" : "false");
  shape.adds_bos = source.add_bos.value_or(pre->adds_bos);
  shape.adds_eos = source.add_eos.value_or(false);
  shape.special_is_normalized = false;
  FPTQ_TRY(shape.merges, listed_merges(vocabulary));
  return shape;
}

std::string added_tokens_json(const Checked& vocabulary, bool special_is_normalized) {
  std::string json;
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    const std::int32_t type = vocabulary.types[id];
    const bool special = type == GgufTokenType::kControl || type == GgufTokenType::kUnknown;
    if ((!special && type != GgufTokenType::kUserDefined) || vocabulary.text(id).empty()) continue;
    json += (json.empty() ? "" : ",") + std::string(R"({"id":)") + std::to_string(id) +
            R"(,"content":)" + json_string(vocabulary.text(id)) +
            R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":)" +
            (special && special_is_normalized ? "true" : "false") + R"(,"special":)" +
            (special ? "true}" : "false}");
  }
  return json;
}

// The stage that puts BOS in front and EOS behind, where the vocabulary wants that.
std::string post_processor_json(const Checked& vocabulary, const Shape& shape) {
  const GgufVocabulary& source = *vocabulary.source;
  std::string front;
  std::string back;
  std::string tokens;
  const auto add = [&](std::int64_t id) {
    const std::string text = json_string(vocabulary.text(static_cast<std::size_t>(id)));
    const std::string entry = text + R"(:{"id":)" + text + R"(,"ids":[)" + std::to_string(id) +
                              R"(],"tokens":[)" + text + "]}";
    if (tokens.find(entry) == tokens.npos) tokens += (tokens.empty() ? "" : ",") + entry;
    return R"({"SpecialToken":{"id":)" + text + R"(,"type_id":0}})";
  };
  if (shape.adds_bos && source.bos_id) front = add(*source.bos_id) + ",";
  if (shape.adds_eos && source.eos_id) back = "," + add(*source.eos_id);
  if (tokens.empty()) return "null";
  const std::string single = front + R"({"Sequence":{"id":"A","type_id":0}})" + back;
  return R"({"type":"TemplateProcessing","single":[)" + single + R"(],"pair":[)" + single +
         R"(,{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{)" + tokens + "}}";
}

std::string tokenizer_json(const Checked& vocabulary, const Shape& shape) {
  std::string json = R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)" +
                     added_tokens_json(vocabulary, shape.special_is_normalized) + "]," +
                     shape.stages + R"(,"post_processor":)" +
                     post_processor_json(vocabulary, shape) +
                     R"(,"model":{"type":"BPE","dropout":null,"continuing_subword_prefix":null,)"
                     R"("end_of_word_suffix":null,)" +
                     shape.model_options + R"(,"vocab":{)";
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    json += (id == 0 ? "" : ",") + json_string(vocabulary.text(id)) + ":" + std::to_string(id);
  }
  json += R"(},"merges":[)";
  for (std::size_t i = 0; i < shape.merges.size(); ++i) {
    const Merge& merge = shape.merges[i];
    json += (i == 0 ? "[" : ",[") + json_string(vocabulary.text(merge.left)) + "," +
            json_string(vocabulary.text(merge.right)) + "]";
  }
  return json + "]}}\n";
}

Result<std::string> tokenizer_config_json(const Checked& vocabulary, const Shape& shape) {
  const GgufVocabulary& source = *vocabulary.source;
  Json config = Json::object();
  const auto name = [&](const char* key, const std::optional<std::int64_t>& id) {
    if (id) config[key] = vocabulary.text(static_cast<std::size_t>(*id));
  };
  // Fast: tokenizer.json is used as it is, not converted again.
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  name("bos_token", source.bos_id);
  name("eos_token", source.eos_id);
  name("unk_token", source.unk_id);
  name("pad_token", source.pad_id);
  config["add_bos_token"] = shape.adds_bos;
  config["add_eos_token"] = shape.adds_eos;
  config["clean_up_tokenization_spaces"] = false;
  if (source.chat_template) {
    if (const auto at = invalid_utf8_at(*source.chat_template)) {
      return format_error("tokenizer.chat_template: byte " + std::to_string(*at) + " is not UTF-8");
    }
    config["chat_template"] = *source.chat_template;
  }
  return config.dump(2) + "\n";
}

std::string generation_config_json(const GgufVocabulary& source) {
  Json config = Json::object();
  if (source.bos_id) config["bos_token_id"] = *source.bos_id;
  if (source.eos_id && source.eot_id && source.eos_id != source.eot_id) {
    config["eos_token_id"] = {*source.eos_id, *source.eot_id};
  } else if (source.eos_id || source.eot_id) {
    config["eos_token_id"] = source.eos_id ? *source.eos_id : *source.eot_id;
  }
  if (source.pad_id) config["pad_token_id"] = *source.pad_id;
  return config.dump(2) + "\n";
}

Result<TokenizerFiles> build(const GgufVocabulary& vocabulary) {
  if (vocabulary.model != "llama" && vocabulary.model != "gpt2") {
    return Error{
        Error::Kind::kUnsupported,
        "tokenizer.ggml.model: expected \"llama\" or \"gpt2\", got \"" + vocabulary.model + "\""};
  }
  FPTQ_TRY(const Checked checked, check(vocabulary));
  FPTQ_TRY(const Shape shape,
           vocabulary.model == "llama" ? sentencepiece_shape(checked) : byte_level_shape(checked));
  TokenizerFiles files;
  files.tokenizer_json = tokenizer_json(checked, shape);
  FPTQ_TRY(files.others["tokenizer_config.json"], tokenizer_config_json(checked, shape));
  files.others["generation_config.json"] = generation_config_json(vocabulary);
  return files;
}

// llama2.c's first exporter wrote the byte tokens, ids 3 to 258, as the character of that number
// ("\x0A", "\u00ff"); later ones write "<0x0A>". Gives the first form the second's names.
void name_bytes(std::vector<std::string>& tokens) {
  constexpr std::size_t kFirstByte = 3;
  constexpr std::size_t kBytes = 256;
  if (tokens.size() < kFirstByte + kBytes) return;
  std::vector<std::string> names;
  for (std::size_t byte = 0; byte < kBytes; ++byte) {
    std::string character;
    if (byte < 0x80) {
      character = byte == ' ' ? kSpace : std::string(1, static_cast<char>(byte));
    } else {
      character = {static_cast<char>(0xc0 | (byte >> 6)), static_cast<char>(0x80 | (byte & 0x3f))};
    }
    if (tokens[kFirstByte + byte] != character) return;
    constexpr std::string_view kHex = "0123456789ABCDEF";
    names.push_back({'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'});
  }
  std::move(names.begin(), names.end(), tokens.begin() + kFirstByte);
}

}  // namespace

Result<TokenizerFiles> tokenizer_from_gguf(const GgufVocabulary& vocabulary,
                                           const std::string& where) {
  auto files = build(vocabulary);
  return files ? std::move(files) : with_context(files.error(), where);
}

Result<TokenizerFiles> tokenizer_from_llama2c(std::span<const std::string> tokens,
                                              std::span<const float> scores,
                                              const std::string& where) {
  constexpr std::size_t kSpecial = 3;  // unknown, BOS, EOS
  if (tokens.size() < kSpecial) {
    return format_error(where + ": expected at least 3 tokens, got " +
                        std::to_string(tokens.size()));
  }
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>"};
  vocabulary.tokens.reserve(tokens.size());
  for (const std::string& token : tokens.subspan(kSpecial)) {
    std::string& text = vocabulary.tokens.emplace_back();
    for (const char c : token) {
      if (c == ' ') {
        text += kSpace;
      } else {
        text += c;
      }
    }
  }
  name_bytes(vocabulary.tokens);
  vocabulary.scores.assign(scores.begin(), scores.end());
  vocabulary.unk_id = 0;
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  return tokenizer_from_gguf(vocabulary, where);
}

}  // namespace fptq::io
