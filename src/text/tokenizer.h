// Tokenizing: Hugging Face's own implementation behind a few functions.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fptq::text {

using TokenId = std::int32_t;

// A tokenizer.json, loaded. Thread safety: const member functions may be called from several
// threads.
class Tokenizer {
 public:
  // Errors: kFormat with the reference implementation's reason.
  [[nodiscard]] static Result<Tokenizer> from_json(std::string_view tokenizer_json,
                                                   const std::string& where);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // The ids of `text` (UTF-8). add_special: with what the post-processor adds (BOS for Llama).
  // Special-token text inside `text` becomes its special token, as in the reference.
  // Errors: kFormat where text is not UTF-8, with the byte offset.
  [[nodiscard]] Result<std::vector<TokenId>> encode(std::string_view text, bool add_special) const;

  // The text of `ids`. Errors: kInvalidArgument for an id that is not in the vocabulary.
  [[nodiscard]] Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const;

  // Entries including added tokens: ids are in [0, vocabulary_size()).
  [[nodiscard]] std::size_t vocabulary_size() const;
  [[nodiscard]] std::optional<TokenId> id_of(std::string_view token) const;
  [[nodiscard]] std::optional<std::string> token_of(TokenId id) const;
  [[nodiscard]] bool is_known(TokenId id) const;  // whether a token has that id
  [[nodiscard]] bool is_special(TokenId id) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::text
