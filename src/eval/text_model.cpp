#include "eval/text_model.h"

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace fptq::eval {
namespace {

struct EncodedText {
  std::mutex mutex;
  std::string text;
  std::vector<TokenId> ids;
};

// lm-evaluation-harness begins a text with BOS, and with EOS where there is no BOS.
std::optional<TokenId> prefix_token(const text::Tokenizer& tokenizer,
                                    const text::SpecialTokens& special) {
  if (special.bos) return special.bos;
  const auto eos = special.names.find("eos_token");
  if (eos != special.names.end()) return tokenizer.id_of(eos->second);
  if (!special.stops.empty()) return special.stops.front();
  return std::nullopt;
}

}  // namespace

EncodeFn remember_long_text(EncodeFn encode) {
  auto last = std::make_shared<EncodedText>();
  return [encode = std::move(encode), last](std::string_view text) -> Result<std::vector<TokenId>> {
    if (text.size() < kLongTextBytes) return encode(text);
    const std::lock_guard lock(last->mutex);
    if (text != last->text) {
      FPTQ_TRY(last->ids, encode(text));
      last->text = text;
    }
    return last->ids;
  };
}

TextModel make_text_model(LogitsSource& source, const text::Tokenizer& tokenizer,
                          const text::SpecialTokens& special, std::size_t context) {
  TextModel model;
  model.logits = &source;
  model.encode = remember_long_text(
      [&tokenizer](std::string_view text) { return tokenizer.encode(text, /*add_special=*/true); });
  model.prefix_token = prefix_token(tokenizer, special);
  if (special.encode_adds_bos) model.block_start = special.bos;
  model.bos = special.bos;
  model.context = context;
  return model;
}

}  // namespace fptq::eval
