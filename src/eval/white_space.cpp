#include "eval/white_space.h"

#include <algorithm>
#include <array>

namespace fptq::eval {
namespace {

constexpr std::array<std::string_view, 18> kWideSpaces = {
    "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007",
    "\u2008", "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000", "\u00A0"};

}  // namespace

std::size_t white_space_at(std::string_view text, std::size_t position) {
  if (position >= text.size()) return 0;
  const auto byte = static_cast<unsigned char>(text[position]);
  if (byte < 0x80) {
    return (byte >= 0x09 && byte <= 0x0D) || (byte >= 0x1C && byte <= 0x20) ? 1 : 0;
  }
  // The escapes name code points; U+0085 has none of its own in a universal character name.
  if (byte == 0xC2 && position + 1 < text.size() && text[position + 1] == '\x85') return 2;
  const std::string_view rest = text.substr(position);
  const auto* found = std::find_if(kWideSpaces.begin(), kWideSpaces.end(),
                                   [&](std::string_view space) { return rest.starts_with(space); });
  return found == kWideSpaces.end() ? 0 : found->size();
}

std::string_view strip(std::string_view text) {
  std::size_t begin = 0;
  while (const std::size_t bytes = white_space_at(text, begin)) begin += bytes;
  // Going forward is simpler than decoding UTF-8 backwards: remember where the last word ended.
  std::size_t end = begin;
  for (std::size_t i = begin; i < text.size();) {
    const std::size_t bytes = white_space_at(text, i);
    i += std::max<std::size_t>(bytes, 1);
    if (bytes == 0) end = i;
  }
  return text.substr(begin, end - begin);
}

std::size_t count_words(std::string_view text) {
  std::size_t pieces = 1;
  bool in_space = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t bytes = white_space_at(text, i);
    if (bytes > 0 && !in_space) ++pieces;
    in_space = bytes > 0;
    i += std::max<std::size_t>(bytes, 1);
  }
  return pieces;
}

}  // namespace fptq::eval
