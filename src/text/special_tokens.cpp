#include "text/special_tokens.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace fptq::text {
namespace {

constexpr std::array kNames = {"bos_token", "eos_token", "pad_token", "unk_token"};

// How chat formats end a turn.
constexpr std::array kTurnEnds = {"<|eot_id|>",      "<|eom_id|>",    "<|im_end|>", "<|end|>",
                                  "<|end_of_text|>", "<|endoftext|>", "</s>",       "<|eot|>"};

// Collects what one file after the other says.
class Collector {
 public:
  Collector(const Tokenizer& tokenizer, SpecialTokens& found)
      : tokenizer_(&tokenizer), found_(&found) {}

  // The names of tokens, in tokenizer_config.json and special_tokens_map.json.
  Status read_names(const Json& file, const std::string& place) {
    for (const char* key : kNames) {
      const auto entry = file.find(key);
      if (entry == file.end() || entry->is_null()) continue;
      const Json* text = &*entry;
      if (text->is_object() && text->contains("content")) text = &(*text)["content"];
      if (!text->is_string()) {
        return Error{Error::Kind::kFormat,
                     place + ": " + key + ": expected a string or {\"content\": string}"};
      }
      const std::string name = text->get<std::string>();
      const std::optional<TokenId> id = tokenizer_->id_of(name);
      if (!id) continue;
      found_->names.emplace(key, name);
      add(key, *id);
    }
    return {};
  }

  // The ids of tokens, in generation_config.json and config.json.
  Status read_ids(const Json& file, const std::string& place) {
    for (const char* key : kNames) {
      const std::string id_key = std::string(key) + "_id";
      const auto entry = file.find(id_key);
      if (entry == file.end() || entry->is_null()) continue;
      const Json list = entry->is_array() ? *entry : Json::array({*entry});
      for (const Json& value : list) {
        if (stands_for_none(key, value)) continue;
        const std::optional<TokenId> id = valid_id(value);
        if (!id && stands_behind_the_vocabulary(key, value)) {
          found_->stops.push_back(value.get<TokenId>());
          continue;
        }
        if (!id) {
          return Error{Error::Kind::kFormat, place + ": " + id_key + ": expected an id below " +
                                                 std::to_string(tokenizer_->vocabulary_size()) +
                                                 ", got " + value.dump()};
        }
        add(key, *id);
      }
    }
    return {};
  }

 private:
  // Published files write -1 for "none", and a padding id just behind the vocabulary.
  [[nodiscard]] bool stands_for_none(std::string_view key, const Json& value) const {
    if (!value.is_number_integer()) return false;
    return value.get<std::int64_t>() < 0 || (key == "pad_token" && !valid_id(value));
  }

  // An embedding may have more rows than the vocabulary has tokens: such an id can still be
  // produced, and then ends the text.
  [[nodiscard]] static bool stands_behind_the_vocabulary(std::string_view key, const Json& value) {
    return key == "eos_token" && value.is_number_integer() &&
           value.get<std::int64_t>() <= std::numeric_limits<TokenId>::max();
  }

  [[nodiscard]] std::optional<TokenId> valid_id(const Json& value) const {
    if (!value.is_number_integer()) return std::nullopt;
    const auto id = value.get<std::int64_t>();
    const bool in_range = id >= 0 && static_cast<std::uint64_t>(id) < tokenizer_->vocabulary_size();
    return in_range ? std::optional(static_cast<TokenId>(id)) : std::nullopt;
  }

  void add(std::string_view key, TokenId id) {
    if (key == "bos_token" && !found_->bos) found_->bos = id;
    if (key == "pad_token" && !found_->pad) found_->pad = id;
    if (key == "eos_token") found_->stops.push_back(id);
    if (auto text = tokenizer_->token_of(id)) {
      found_->names.emplace(std::string(key), *std::move(text));
    }
  }

  const Tokenizer* tokenizer_;
  SpecialTokens* found_;
};

void sort_unique(std::vector<TokenId>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace

Result<SpecialTokens> special_tokens(const std::map<std::string, std::string>& files,
                                     const Json& config, const Tokenizer& tokenizer,
                                     const std::string& where) {
  SpecialTokens found;
  Collector collector(tokenizer, found);
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"}) {
    const auto file = files.find(name);
    if (file == files.end()) continue;
    const std::string place = where + "/" + name;
    FPTQ_TRY(const Json json, parse_json(file->second, place));
    if (!json.is_object()) return Error{Error::Kind::kFormat, place + ": expected an object"};
    FPTQ_TRY_VOID(collector.read_names(json, place));
    FPTQ_TRY_VOID(collector.read_ids(json, place));
  }
  if (config.is_object()) FPTQ_TRY_VOID(collector.read_ids(config, where + "/config.json"));

  sort_unique(found.stops);
  found.chat_stops = found.stops;
  for (const char* text : kTurnEnds) {
    const std::optional<TokenId> id = tokenizer.id_of(text);
    if (id && tokenizer.is_special(*id)) found.chat_stops.push_back(*id);
  }
  sort_unique(found.chat_stops);

  FPTQ_TRY(const std::vector<TokenId> empty, tokenizer.encode("", true));
  found.encode_adds_bos = found.bos && !empty.empty() && empty.front() == *found.bos;
  return found;
}

}  // namespace fptq::text
