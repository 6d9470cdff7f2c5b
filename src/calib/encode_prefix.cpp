#include "calib/encode_prefix.h"

#include <algorithm>

#include "base/check.h"

namespace fptq::calib {
namespace {

constexpr std::size_t kBytesPerToken = 8;  // usual texts have 3 to 5
constexpr std::size_t kSmallestPiece = 4096;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

}  // namespace

std::size_t piece_length(std::string_view text, std::size_t most) {
  FPTQ_CHECK(most >= 4, "a piece holds any character");
  if (text.size() <= most) return text.size();
  std::size_t word_end = 0;
  for (std::size_t at = most; at > most / 2; --at) {
    if (text[at - 1] == '\n' && !is_space(text[at])) return at;
    if (word_end == 0 && text[at] == ' ' && !is_space(text[at - 1])) word_end = at;
  }
  if (word_end != 0) return word_end;
  std::size_t end = most;
  while ((static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u) --end;
  return end;
}

Result<std::vector<std::int32_t>> encode_prefix(const text::Tokenizer& tokenizer,
                                                std::string_view text, std::size_t count) {
  std::vector<std::int32_t> ids;
  while (ids.size() < count && !text.empty()) {
    const std::size_t wanted = std::min(count - ids.size(), kLargestPiece / kBytesPerToken);
    const std::size_t length =
        piece_length(text, std::max(wanted * kBytesPerToken, kSmallestPiece));
    FPTQ_TRY(const std::vector<std::int32_t> piece,
             tokenizer.encode(text.substr(0, length), /*add_special=*/false));
    ids.insert(ids.end(), piece.begin(), piece.end());
    text.remove_prefix(length);
  }
  if (ids.size() > count) ids.resize(count);
  return ids;
}

}  // namespace fptq::calib
