#include "io/spm_merges.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace fptq::io {
namespace {

constexpr std::size_t kMaxPieceBytes = 1024;  // real ones have up to about 100

struct ScoredMerge {
  Merge merge;
  float score;                 // of the result
  std::ptrdiff_t left_length;  // in characters; bytes would order some pieces differently
  std::ptrdiff_t right_length;
};

std::ptrdiff_t characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

}  // namespace

Result<std::vector<Merge>> merges_from_scores(std::span<const std::string> tokens,
                                              const TokenIds& id_of, std::span<const float> scores,
                                              std::span<const std::int32_t> types) {
  const auto error = [](const std::string& what) { return Error{Error::Kind::kFormat, what}; };
  if (scores.size() != tokens.size()) {
    return error("tokenizer.ggml.scores: expected " + std::to_string(tokens.size()) +
                 " values, as many as tokens, got " + std::to_string(scores.size()));
  }
  // The id of the normal token with that text, or npos.
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  const auto normal = [&](std::string_view text) {
    const auto place = id_of.find(text);
    const bool found = place != id_of.end() && types[place->second] == GgufTokenType::kNormal;
    return found ? place->second : kNone;
  };

  std::vector<ScoredMerge> scored;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (!std::isfinite(scores[id])) {
      return error("tokenizer.ggml.scores: value " + std::to_string(id) +
                   ": expected a finite number, got " + std::to_string(scores[id]));
    }
    if (types[id] != GgufTokenType::kNormal) continue;
    const std::string_view text = tokens[id];
    if (text.size() > kMaxPieceBytes) {
      return error("token " + std::to_string(id) + ": expected at most " +
                   std::to_string(kMaxPieceBytes) + " bytes, got " + std::to_string(text.size()));
    }
    const std::size_t first = scored.size();
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const std::string_view left = text.substr(0, cut);
      const std::string_view right = text.substr(cut);
      const Merge merge{normal(left), normal(right)};
      if (merge.left == kNone || merge.right == kNone) continue;
      scored.push_back({merge, scores[id], characters(left), characters(right)});
    }
    std::sort(scored.begin() + static_cast<std::ptrdiff_t>(first), scored.end(),
              [](const ScoredMerge& a, const ScoredMerge& b) {
                return std::tie(a.merge.left, a.merge.right) <
                       std::tie(b.merge.left, b.merge.right);
              });
  }
  std::stable_sort(scored.begin(), scored.end(), [](const ScoredMerge& a, const ScoredMerge& b) {
    return std::tie(a.score, a.left_length, a.right_length) >
           std::tie(b.score, b.left_length, b.right_length);
  });

  std::vector<Merge> merges;
  merges.reserve(scored.size());
  for (const ScoredMerge& entry : scored) merges.push_back(entry.merge);
  return merges;
}

}  // namespace fptq::io
