// SentencePiece has scores where tokenizer.json has an ordered list of merges.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace fptq::io {

// Values of tokenizer.ggml.token_type, which are SentencePiece's.
struct GgufTokenType {
  static constexpr std::int32_t kNormal = 1;
  static constexpr std::int32_t kUnknown = 2;
  static constexpr std::int32_t kControl = 3;
  static constexpr std::int32_t kUserDefined = 4;
  static constexpr std::int32_t kUnused = 5;
  static constexpr std::int32_t kByte = 6;
};

// Id by text.
using TokenIds = std::unordered_map<std::string_view, std::size_t>;

// Two tokens whose joined text is a token.
struct Merge {
  std::size_t left;   // id
  std::size_t right;  // id
};

// Every way to make a normal token of two normal tokens, best first, in the order of Hugging
// Face's converter (SentencePieceExtractor): score of the result, then characters of the left
// part, then of the right part, all descending; what is left by the ids of result, left, right.
//
//   tokens  [V]  UTF-8
//   id_of        the same texts, each with its id
//   scores  [V]  finite
//   types   [V]  GgufTokenType
//
// Errors: kFormat for another number of scores, one that is not finite, and a normal token of
// more than 1024 bytes (the work grows with the square of its length).
[[nodiscard]] Result<std::vector<Merge>> merges_from_scores(std::span<const std::string> tokens,
                                                            const TokenIds& id_of,
                                                            std::span<const float> scores,
                                                            std::span<const std::int32_t> types);

}  // namespace fptq::io
