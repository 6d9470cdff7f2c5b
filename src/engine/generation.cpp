#include "engine/generation.h"

namespace fptq::engine {

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopId:
      return "stop";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

Status check_request(const GenerationRequest& request, std::size_t capacity,
                     std::size_t vocabulary) {
  FPTQ_TRY_VOID(check_sampling_options(request.sampling));
  const std::size_t length = request.prompt.size();
  if (length == 0) {
    return Error{Error::Kind::kInvalidArgument, "prompt: expected at least 1 token, got none"};
  }
  if (length > capacity) {
    return Error{Error::Kind::kLimit, "prompt: expected at most " + std::to_string(capacity) +
                                          " tokens (--ctx), got " + std::to_string(length) +
                                          ". Raise --ctx or shorten the prompt"};
  }
  for (std::size_t t = 0; t < length; ++t) {
    const std::int32_t id = request.prompt[t];
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) continue;
    return Error{Error::Kind::kInvalidArgument,
                 "prompt: token " + std::to_string(t) + ": expected an id from 0 to " +
                     std::to_string(vocabulary - 1) + ", got " + std::to_string(id)};
  }
  return {};
}

}  // namespace fptq::engine
