// A model for tests: a table of bigrams over an alphabet of single characters.

#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/logits_source.h"

namespace fptq::eval::testing {

// Logits depend on the last token only: row `id` of a [V, V] table. Records what it was asked.
class BigramModel final : public LogitsSource {
 public:
  // Every token equally likely after every other.
  explicit BigramModel(std::size_t vocabulary)
      : BigramModel(vocabulary, std::vector<float>(vocabulary * vocabulary, 0.0f)) {}
  BigramModel(std::size_t vocabulary, std::vector<float> table)
      : vocabulary_(vocabulary), table_(std::move(table)) {}

  [[nodiscard]] std::size_t vocabulary() const override { return vocabulary_; }
  [[nodiscard]] Status begin(std::size_t total_length) override {
    sequences.emplace_back();
    total_lengths.push_back(total_length);
    return {};
  }
  [[nodiscard]] Status append(std::span<const TokenId> ids, std::span<float> logits) override {
    sequences.back().insert(sequences.back().end(), ids.begin(), ids.end());
    if (logits.empty()) return {};
    most_rows = std::max(most_rows, ids.size());
    for (std::size_t r = 0; r < ids.size(); ++r) {
      std::copy_n(table_.begin() + static_cast<std::ptrdiff_t>(ids[r]) *
                                       static_cast<std::ptrdiff_t>(vocabulary_),
                  vocabulary_, logits.begin() + static_cast<std::ptrdiff_t>(r * vocabulary_));
    }
    return {};
  }

  // A text model that encodes 'a' as 2, 'b' as 3, ..., puts BOS (1) first if asked to, and has a
  // context of `context` positions.
  [[nodiscard]] TextModel text_model(bool adds_bos, std::size_t context) {
    TextModel model;
    model.logits = this;
    model.encode = [adds_bos](std::string_view text) -> Result<std::vector<TokenId>> {
      std::vector<TokenId> ids;
      if (adds_bos) ids.push_back(1);
      for (const char c : text) ids.push_back(c - 'a' + 2);
      return ids;
    };
    model.prefix_token = 1;
    model.bos = 1;
    if (adds_bos) model.block_start = 1;
    model.context = context;
    return model;
  }

  std::vector<std::vector<TokenId>> sequences;  // what each sequence was fed
  std::vector<std::size_t> total_lengths;
  std::size_t most_rows = 0;  // rows of logits in one call

 private:
  std::size_t vocabulary_;
  std::vector<float> table_;
};

}  // namespace fptq::eval::testing
