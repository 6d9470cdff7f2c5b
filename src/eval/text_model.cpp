#include "eval/text_model.h"

namespace fptq::eval {
namespace {

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

TextModel make_text_model(LogitsSource& source, const text::Tokenizer& tokenizer,
                          const text::SpecialTokens& special, std::size_t context) {
  TextModel model;
  model.logits = &source;
  model.encode = [&tokenizer](std::string_view text) {
    return tokenizer.encode(text, /*add_special=*/true);
  };
  model.prefix_token = prefix_token(tokenizer, special);
  if (special.encode_adds_bos) model.block_start = special.bos;
  model.bos = special.bos;
  model.context = context;
  return model;
}

}  // namespace fptq::eval
