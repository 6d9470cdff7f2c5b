#include "text/stream_decoder.h"

#include <span>
#include <string_view>
#include <utility>

namespace fptq::text {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";  // what a decoder writes for broken bytes

// A model that produces broken bytes without end must not make each step slower than the last.
constexpr std::size_t kMaxHeld = 64;

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

// The first byte at or after `from` that begins a character.
std::size_t character_start(std::string_view text, std::size_t from) {
  while (from < text.size() && is_continuation(text[from])) ++from;
  return from;
}

}  // namespace

// The text of the ids in window_ behind the context.
Result<std::string> StreamDecoder::pending() const {
  const std::span<const TokenId> ids(window_);
  FPTQ_TRY(const std::string before, tokenizer_->decode(ids.first(context_), true));
  FPTQ_TRY(std::string all, tokenizer_->decode(ids, true));
  // `all` does not begin with `before` only where broken bytes changed how they are replaced.
  all.erase(0, character_start(all, before.size()));
  return all;
}

Result<std::string> StreamDecoder::push(TokenId id) {
  // Embeddings are often padded beyond the vocabulary, so a model can produce an id of no token.
  if (id >= 0 && !tokenizer_->is_known(id)) return std::string();
  // Decoders that join byte tokens to characters must not see special tokens between them, as
  // they don't in a decoding of the whole.
  if (tokenizer_->is_special(id)) return std::string();
  window_.push_back(id);
  auto text = pending();
  if (!text) {
    window_.pop_back();
    return text;
  }
  const std::size_t held = window_.size() - context_;
  const bool is_uncertain = text->empty() || text->ends_with(kReplacement);
  if (is_uncertain && held < kMaxHeld) return std::string();
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(context_));
  context_ = window_.size();
  return text;
}

Result<std::string> StreamDecoder::flush() {
  auto text = pending();
  window_.clear();
  context_ = 0;
  return text;
}

}  // namespace fptq::text
