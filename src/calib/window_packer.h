// From documents to sequences of equal length.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "text/special_tokens.h"

namespace fptq::calib {

// Collects sequences of `tokens` ids, BOS in front where the tokenizer adds one.
class WindowPacker {
 public:
  // tokens: >= 2. wanted: sequences, >= 1.
  WindowPacker(const text::SpecialTokens& special, std::size_t tokens, std::size_t wanted);

  // Ids of text in a sequence: tokens, less BOS.
  [[nodiscard]] std::size_t body() const { return body_; }
  [[nodiscard]] std::size_t missing() const { return wanted_ - sequences_.size(); }

  // A window of body() ids becomes a sequence. missing() > 0.
  void add_window(std::span<const std::int32_t> ids);
  // A document of less than body() ids is joined to the short ones before it, with EOS where the
  // model has one and BOS where the tokenizer adds one in between. Once they fill a sequence it is
  // complete, and what does not fit is dropped. missing() > 0.
  void add_short(std::span<const std::int32_t> ids);
  // Without any sequence so far, what add_short() has left becomes one if it has 2 tokens, with
  // BOS.
  void add_remainder();

  [[nodiscard]] std::vector<std::vector<std::int32_t>> take() { return std::move(sequences_); }

 private:
  std::optional<std::int32_t> bos_;
  std::optional<std::int32_t> eos_;
  std::size_t body_;
  std::size_t wanted_;
  std::vector<std::int32_t> joined_;  // short documents
  std::vector<std::vector<std::int32_t>> sequences_;
};

}  // namespace fptq::calib
