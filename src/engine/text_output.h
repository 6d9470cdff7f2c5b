// The text of a generation, as it becomes certain.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/generation.h"
#include "engine/stop_strings.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace fptq::engine {

// Decodes ids, ends at stop strings and hands pieces on. tokenizer has to outlive it.
class TextOutput {
 public:
  TextOutput(const text::Tokenizer& tokenizer, std::vector<std::string> stop_strings,
             TextFn on_text)
      : decoder_(tokenizer), stops_(std::move(stop_strings)), on_text_(std::move(on_text)) {}

  // What stands before the first generated token decides whether its space is kept.
  [[nodiscard]] Status begin(std::span<const std::int32_t> prompt);
  [[nodiscard]] Status push(std::int32_t id);
  // Hands on what was held back, unless the text was stopped or cancelled.
  [[nodiscard]] Status finish();

  [[nodiscard]] bool stopped() const { return stops_.stopped(); }
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void emit(std::string_view piece);

  text::StreamDecoder decoder_;
  StopStrings stops_;
  TextFn on_text_;
  std::string text_;
  bool cancelled_ = false;
};

}  // namespace fptq::engine
