// White space as Python's str methods and regular expressions see it, in UTF-8.

#pragma once

#include <cstddef>
#include <string_view>

namespace fptq::eval {

// Bytes of the white-space character that begins at text[position], 0 where there is none.
// White space is what str.isspace() and \s of Python's `re` agree on: the ASCII separators
// 0x09-0x0D and 0x1C-0x20, U+0085, U+00A0, U+1680, U+2000-U+200A, U+2028, U+2029, U+202F, U+205F
// and U+3000.
[[nodiscard]] std::size_t white_space_at(std::string_view text, std::size_t position);

// str.strip().
[[nodiscard]] std::string_view strip(std::string_view text);

// len(re.split(r"\s+", text)): runs of white space separate, and empty pieces at the ends count.
[[nodiscard]] std::size_t count_words(std::string_view text);

}  // namespace fptq::eval
