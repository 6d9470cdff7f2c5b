#include "eval/text_model.h"

namespace fptq::eval {

Result<TextModel> make_text_model(LogitsSource& source, const text::Tokenizer& tokenizer,
                                  const TextEnds& ends, std::size_t context) {
  TextModel model;
  model.logits = &source;
  model.encode = [&tokenizer](std::string_view text) {
    return tokenizer.encode(text, /*add_special=*/true);
  };
  model.prefix_token = ends.bos ? ends.bos : ends.eos;
  model.context = context;
  if (ends.bos) {
    FPTQ_TRY(const std::vector<TokenId> with, tokenizer.encode("a", /*add_special=*/true));
    FPTQ_TRY(const std::vector<TokenId> without, tokenizer.encode("a", /*add_special=*/false));
    const bool adds_bos = with.size() > without.size() && with.front() == *ends.bos;
    if (adds_bos) model.block_start = ends.bos;
  }
  return model;
}

}  // namespace fptq::eval
