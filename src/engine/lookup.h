// Drafts of how a text may go on, taken from the text itself.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace fptq::engine {

inline constexpr std::size_t kLongestNgram = 4;

// Where the last tokens of a growing text occurred before. A token costs a few hash table
// operations, whatever the length of the text.
class NgramIndex {
 public:
  void push(std::int32_t id);

  [[nodiscard]] std::span<const std::int32_t> ids() const { return ids_; }
  // Length of the longest n-gram, up to kLongestNgram, that ends the text and occurred before
  // (overlapping itself or not); 0: not even the last token did.
  [[nodiscard]] std::size_t match_length() const { return match_length_; }
  // What followed the latest earlier occurrence of that n-gram, and so on; behind the end of the
  // text the draft follows itself, so that a repetition is drafted on. match_length() > 0.
  //   count  tokens to append to `draft`
  void append_draft(std::size_t count, std::vector<std::int32_t>& draft) const;
  // The first token of a draft. match_length() > 0.
  [[nodiscard]] std::int32_t next() const { return ids_[match_end_]; }

 private:
  [[nodiscard]] bool same_ngram(std::size_t end, std::size_t length) const;

  std::vector<std::int32_t> ids_;
  // [length - 1] hash of an n-gram -> the position behind its latest occurrence. An n-gram that
  // another one of the same hash displaced is not found: same_ngram() decides.
  std::array<std::unordered_map<std::uint64_t, std::size_t>, kLongestNgram> ends_;
  std::size_t match_length_ = 0;
  std::size_t match_end_ = 0;
};

// Drafts as many tokens as are worth their place in a forward pass.
//
// For each length of a match it remembers how often such matches foretold the next token lately.
// Every generated token tells, drafted or not, so that drafting stops where the text does not
// repeat itself, and begins again where it does, without a wasted pass.
class LookupDrafter {
 public:
  // most: tokens of a draft at most; 0: never drafts and indexes nothing.
  explicit LookupDrafter(std::size_t most) : most_(most) { accuracy_.fill(kFirstAccuracy); }

  // The text, token by token: the prompt, which teaches nothing about accuracy, and what is
  // generated.
  void push_prompt(std::span<const std::int32_t> ids);
  void push_generated(std::int32_t id);

  // A draft of at most `room` tokens, valid until the next call.
  [[nodiscard]] std::span<const std::int32_t> draft(std::size_t room);

 private:
  static constexpr double kFirstAccuracy = 0.5;

  std::size_t most_;
  NgramIndex index_;
  std::array<double, kLongestNgram> accuracy_;  // [length - 1] in [0, 1]
  std::vector<std::int32_t> draft_;
};

}  // namespace fptq::engine
