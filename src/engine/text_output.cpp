#include "engine/text_output.h"

#include <algorithm>
#include <cstddef>

namespace fptq::engine {
namespace {

// Tokens of the prompt's end that the decoder sees first: more than any character has bytes.
constexpr std::size_t kDecoderContext = 16;

}  // namespace

Status TextOutput::begin(std::span<const std::int32_t> prompt) {
  for (const std::int32_t id : prompt.last(std::min(prompt.size(), kDecoderContext))) {
    FPTQ_TRY(const std::string ignored, decoder_.push(id));
  }
  return {};
}

Status TextOutput::push(std::int32_t id) {
  FPTQ_TRY(const std::string piece, decoder_.push(id));
  emit(stops_.push(piece));
  return {};
}

Status TextOutput::finish() {
  if (stops_.stopped() || cancelled_) return {};
  FPTQ_TRY(const std::string rest, decoder_.flush());
  emit(stops_.push(rest));
  emit(stops_.flush());
  return {};
}

void TextOutput::emit(std::string_view piece) {
  if (piece.empty()) return;
  text_ += piece;
  if (on_text_ && !on_text_(piece)) cancelled_ = true;
}

}  // namespace fptq::engine
