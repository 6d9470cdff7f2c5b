// Text as the tokens of a generation arrive.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace fptq::text {

// Turns ids into text one by one. A piece that has been returned is never taken back, and no piece
// ends within a character: while the bytes so far are the beginning of one, or can't be told from
// that, the piece is empty and the text comes with a later one. Special tokens give no text, nor do
// ids that no token has, as with `transformers`.
//
// The pieces, joined, and flush() are the decoded text of all ids, except after bytes that no
// character begins with: how those are replaced can depend on what follows, and what has been
// returned stays.
//
// The tokenizer must outlive the decoder. Not for use from several threads at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // The text that has become certain with `id`. Errors: kInvalidArgument for a negative id.
  [[nodiscard]] Result<std::string> push(TokenId id);

  // What is still held back, at the end of a generation: unfinished characters as U+FFFD. The
  // decoder is then as new.
  [[nodiscard]] Result<std::string> flush();

 private:
  [[nodiscard]] Result<std::string> pending() const;

  const Tokenizer* tokenizer_;
  // The ids of the last piece, as context (a leading space is dropped at the start of a text
  // only), then those whose text has not been returned.
  std::vector<TokenId> window_;
  std::size_t context_ = 0;  // how many of window_ are context
};

}  // namespace fptq::text
