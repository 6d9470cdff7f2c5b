#include "eval/task_encoding.h"

#include <string_view>
#include <utility>

#include "eval/white_space.h"

namespace fptq::eval {
namespace {

// Bytes of `text` without the white space at its end: what str.rstrip() keeps.
std::size_t size_without_space(std::string_view text) {
  const std::string_view stripped = strip(text);
  if (stripped.empty()) return 0;
  return static_cast<std::size_t>(stripped.data() - text.data()) + stripped.size();
}

// The tokens of a continuation behind nothing: the prefix token stands for the context.
Result<ScoredSequence> behind_nothing(const TaskEncoder& encoder, const std::string& continuation,
                                      const std::string& where) {
  if (!encoder.prefix_token) {
    return Error{Error::Kind::kInvalidArgument,
                 where +
                     ": expected a context, or a model with a token that begins a text, got "
                     "neither"};
  }
  FPTQ_TRY(std::vector<TokenId> tokens, encoder.encode_plain(continuation));
  if (tokens.empty() || tokens.front() != *encoder.prefix_token) {
    tokens.insert(tokens.begin(), *encoder.prefix_token);
  }
  return ScoredSequence{std::move(tokens), 1};
}

Result<ScoredSequence> behind_context(const TaskEncoder& encoder, std::string_view context,
                                      const std::string& continuation) {
  FPTQ_TRY(std::vector<TokenId> tokens, encoder.encode(context));
  FPTQ_TRY(const std::vector<TokenId> whole, encoder.encode(std::string(context) + continuation));
  const std::size_t first_scored = tokens.size();
  if (whole.size() > first_scored) {
    tokens.insert(tokens.end(), whole.begin() + static_cast<std::ptrdiff_t>(first_scored),
                  whole.end());
  }
  return ScoredSequence{std::move(tokens), first_scored};
}

}  // namespace

Result<EncodedRequest> encode_request(const TaskEncoder& encoder, const std::string& context,
                                      const std::string& continuation, const std::string& where) {
  const std::size_t kept = size_without_space(context);
  EncodedRequest request;
  if (kept == 0) {
    FPTQ_TRY(request.sequence, behind_nothing(encoder, context + continuation, where));
  } else {
    FPTQ_TRY(request.sequence, behind_context(encoder, std::string_view(context).substr(0, kept),
                                              context.substr(kept) + continuation));
  }
  ScoredSequence& sequence = request.sequence;
  request.tokens = sequence.tokens.size() - sequence.first_scored;
  if (request.tokens == 0 || sequence.first_scored == 0) {
    return Error{Error::Kind::kFormat,
                 where + ": expected a continuation that has tokens of its own, got none"};
  }
  if (request.tokens > encoder.context) {
    return Error{Error::Kind::kFormat,
                 where + ": expected a continuation of at most " + std::to_string(encoder.context) +
                     " tokens, what the model sees, got " + std::to_string(request.tokens)};
  }
  if (sequence.tokens.size() > encoder.context + 1) {
    const std::size_t lost = sequence.tokens.size() - encoder.context - 1;
    sequence.tokens.erase(sequence.tokens.begin(),
                          sequence.tokens.begin() + static_cast<std::ptrdiff_t>(lost));
    sequence.first_scored -= lost;
    request.cut = true;
  }
  return request;
}

}  // namespace fptq::eval
