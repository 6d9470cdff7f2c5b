#include "eval/windows.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/check.h"

namespace fptq::eval {
namespace {

struct ProtocolTraits {
  Protocol protocol;
  std::string_view name;
  std::size_t default_context;  // 0: the model's own
  std::size_t smallest_context;
};

constexpr std::array<ProtocolTraits, 3> kProtocols = {{{Protocol::kGptq, "gptq", 2048, 2},
                                                       {Protocol::kLlamaCpp, "llamacpp", 512, 3},
                                                       {Protocol::kLmEval, "lm-eval", 0, 1}}};

const ProtocolTraits& traits(Protocol protocol) {
  return kProtocols[static_cast<std::size_t>(protocol)];
}

}  // namespace

std::string_view protocol_name(Protocol protocol) {
  return traits(protocol).name;
}

Result<Protocol> parse_protocol(std::string_view name) {
  for (const ProtocolTraits& entry : kProtocols) {
    if (entry.name == name) return entry.protocol;
  }
  return Error{Error::Kind::kInvalidArgument,
               "protocol: expected gptq, llamacpp or lm-eval, got \"" + std::string(name) + "\""};
}

std::size_t default_context(Protocol protocol, std::size_t model_context) {
  const std::size_t published = traits(protocol).default_context;
  return published == 0 ? model_context : std::min(published, model_context);
}

std::size_t smallest_context(Protocol protocol) {
  return traits(protocol).smallest_context;
}

std::vector<Window> plan_windows(Protocol protocol, std::size_t tokens, std::size_t context) {
  FPTQ_CHECK(context >= smallest_context(protocol), "a window has to score a token");
  std::vector<Window> windows;
  if (protocol == Protocol::kLmEval) {
    // A window sees L tokens and scores their successors, so it spans L + 1 tokens of the stream.
    for (std::size_t scored = 1; scored < tokens;) {
      const std::size_t end = std::min(scored + context, tokens);
      const std::size_t begin = end > context ? end - context - 1 : 0;
      windows.push_back({begin, end, scored - begin});
      scored = end;
    }
    return windows;
  }
  const std::size_t first_scored = protocol == Protocol::kGptq ? 1 : context / 2 + 1;
  for (std::size_t begin = 0; tokens - begin >= context; begin += context) {
    windows.push_back({begin, begin + context, first_scored});
  }
  return windows;
}

std::vector<TokenId> window_tokens(Protocol protocol, const Window& window,
                                   std::span<const TokenId> stream,
                                   std::optional<TokenId> block_start) {
  const std::span<const TokenId> part = stream.subspan(window.begin, window.size());
  std::vector<TokenId> tokens(part.begin(), part.end());
  if (protocol == Protocol::kLlamaCpp && block_start) tokens.front() = *block_start;
  return tokens;
}

}  // namespace fptq::eval
