// Which tokens begin, end and pad a text, from the several files that say it.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace fptq::text {

struct SpecialTokens {
  std::optional<TokenId> bos;
  std::optional<TokenId> pad;
  // Ids that end a text, ascending: every one that tokenizer_config.json, generation_config.json
  // or config.json names. Empty where none does.
  std::vector<TokenId> stops;
  // stops, and the special tokens by which known chat formats end a turn ("<|eot_id|>",
  // "<|im_end|>", ...): published files often name only the end of a document.
  std::vector<TokenId> chat_stops;
  // Whether encode(text, true) puts bos in front.
  bool encode_adds_bos = false;
  // "bos_token", "eos_token", "pad_token", "unk_token" -> text, those that are known: variables
  // of chat templates.
  std::map<std::string, std::string> names;
};

// Reads tokenizer_config.json, special_tokens_map.json and generation_config.json among `files`
// (name -> contents), then config.json. A token is a string or {"content": ...}; eos_token_id is a
// number or a list. Where the files disagree about BOS and padding, the first in that order counts.
// Names that the vocabulary lacks are left out, and so are negative ids ("none") and a padding id
// outside the vocabulary, which published files have.
//
// An eos_token_id behind the vocabulary ends a text all the same: the embedding may be larger.
//
// Errors: kFormat for a file that is not JSON, a value of the wrong type, and a bos_token_id that
// the vocabulary does not have, each with file and key.
[[nodiscard]] Result<SpecialTokens> special_tokens(const std::map<std::string, std::string>& files,
                                                   const Json& config, const Tokenizer& tokenizer,
                                                   const std::string& where);

}  // namespace fptq::text
