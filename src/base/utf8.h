// UTF-8 as every reader of untrusted text in fptq checks it.

#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace fptq {

// The offset of the first byte that begins no well-formed UTF-8 sequence (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF), or nothing where all of `text` is UTF-8.
[[nodiscard]] std::optional<std::size_t> invalid_utf8_at(std::string_view text);

// Code points: the bytes of well-formed UTF-8 that do not continue a sequence.
[[nodiscard]] std::size_t count_code_points(std::string_view text);

}  // namespace fptq
