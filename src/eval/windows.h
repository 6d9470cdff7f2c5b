// How each perplexity protocol cuts a stream of tokens into windows.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace fptq::eval {

using text::TokenId;

// The three protocols that published perplexities follow. Their numbers are not comparable with
// each other.
//   kGptq      consecutive blocks of L tokens, the remainder dropped; tokens 1..L-1 of each block
//              are scored (GPTQ, AWQ and most papers; L = 2048)
//   kLlamaCpp  the same blocks, first token of each replaced by BOS where the tokenizer adds one;
//              the last L - L/2 - 1 tokens are scored (llama-perplexity; L = 512)
//   kLmEval    every token is scored once, in windows of L of which only the last overlaps its
//              predecessor (lm-evaluation-harness; L = the model's length); per word and byte
enum class Protocol { kGptq, kLlamaCpp, kLmEval };

// "gptq", "llamacpp", "lm-eval".
[[nodiscard]] std::string_view protocol_name(Protocol protocol);
// Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<Protocol> parse_protocol(std::string_view name);

// The L that a protocol's published numbers use; at most model_context, which kLmEval takes whole.
[[nodiscard]] std::size_t default_context(Protocol protocol, std::size_t model_context);
// The least L for which a window scores a token.
[[nodiscard]] std::size_t smallest_context(Protocol protocol);

// Tokens [begin, end) of a stream. The model sees all but the last; those from begin +
// first_scored on are scored.
struct Window {
  std::size_t begin;
  std::size_t end;
  std::size_t first_scored;  // at least 1, less than end - begin

  [[nodiscard]] std::size_t size() const { return end - begin; }
  [[nodiscard]] std::size_t scored() const { return size() - first_scored; }
  bool operator==(const Window&) const = default;
};

// The windows of a stream of `tokens` tokens; for kLmEval the stream begins with the prefix token
// (BOS), which is not scored. context: L, at least smallest_context(). Empty where the stream is
// shorter than one window.
[[nodiscard]] std::vector<Window> plan_windows(Protocol protocol, std::size_t tokens,
                                               std::size_t context);

// The tokens of a window, as the model gets them. block_start: what kLlamaCpp puts first.
[[nodiscard]] std::vector<TokenId> window_tokens(Protocol protocol, const Window& window,
                                                 std::span<const TokenId> stream,
                                                 std::optional<TokenId> block_start);

}  // namespace fptq::eval
