// What evaluation needs of a model: logits, a few positions at a time.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace fptq::eval {

using text::TokenId;

// A model running one sequence.
class LogitsSource {
 public:
  virtual ~LogitsSource() = default;

  // V: entries of a row of logits.
  [[nodiscard]] virtual std::size_t vocabulary() const = 0;

  // Whose vector units look at logits. Numbers do not depend on it.
  [[nodiscard]] virtual Isa isa() const { return Isa::kScalar; }

  // Forgets everything; the sequence that follows will have total_length tokens.
  [[nodiscard]] virtual Status begin(std::size_t total_length) = 0;

  // Runs the next tokens of the sequence, T >= 1. logits: [T, V], or empty where none are wanted.
  [[nodiscard]] virtual Status append(std::span<const TokenId> ids, std::span<float> logits) = 0;
};

// Ids of a text (UTF-8) with the special tokens that the tokenizer adds by itself.
using EncodeFn = std::function<Result<std::vector<TokenId>>(std::string_view text)>;

// A model with its tokenizer, as perplexity and KL divergence see it.
struct TextModel {
  LogitsSource* logits = nullptr;
  EncodeFn encode;
  // Begins every rolling window's document: BOS, or EOS where there is no BOS.
  std::optional<TokenId> prefix_token;
  // BOS if `encode` puts it first; llama.cpp's protocol begins every block with it.
  std::optional<TokenId> block_start;
  std::optional<TokenId> bos;  // whether or not anything puts it first
  std::size_t context = 0;     // positions that the model was made for
};

// Rows of logits [V] that fit 64 MiB, between 1 and 512: what evaluation holds at a time.
[[nodiscard]] std::size_t logits_rows_at_a_time(std::size_t vocabulary);

// Reads the logits of one window after the other, a few rows at a time, so that memory does not
// grow with the window.
class WindowReader {
 public:
  // The source has to outlive the reader.
  explicit WindowReader(LogitsSource& source) : source_(&source) {}

  // logits_rows_at_a_time() of the source.
  [[nodiscard]] std::size_t rows_at_a_time() const;

  // Begins a window: the model will see all of `tokens` but the last. first_scored is at least 1
  // and less than tokens.size(); tokens has to live until the window is read.
  [[nodiscard]] Status open(std::span<const TokenId> tokens, std::size_t first_scored);

  // The logits [rows, V] that predict the next `rows` scored tokens; valid until the next call.
  // rows: from 1 to rows_at_a_time(), and no more than are left.
  [[nodiscard]] Result<std::span<const float>> read(std::size_t rows);

 private:
  LogitsSource* source_;
  std::span<const TokenId> tokens_;
  std::size_t position_ = 0;  // tokens that the model has seen
  std::vector<float> logits_;
};

}  // namespace fptq::eval
