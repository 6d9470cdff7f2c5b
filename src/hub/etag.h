// ETags of a hub: names of blobs, and for most files the hash of their content.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fptq::hub {

// The tag in a header: `W/"abc"` and `"abc"` are abc. Nothing where it could not be a file's name:
// other characters than letters, digits, ".", "_", "-", or more than 128 of them.
[[nodiscard]] std::optional<std::string> parse_etag(std::string_view header);

// Whether `text` is a hash of 40 (SHA-1, a commit) or 64 (SHA-256) lower-case hexadecimal digits.
[[nodiscard]] bool is_hex(std::string_view text, std::size_t digits);

// Compares content with an etag while it arrives: SHA-256 of the bytes for 64 hexadecimal digits
// (large files), git's hash of a blob for 40 (SHA-1 of "blob <size>", a zero byte and the bytes).
// Other tags say nothing about the content.
class ContentCheck {
 public:
  // size_bytes: of the whole content, which git's hash begins with; without it only SHA-256 is
  // checked.
  ContentCheck(std::string etag, std::optional<std::uint64_t> size_bytes);
  ~ContentCheck();
  ContentCheck(ContentCheck&&) noexcept;
  ContentCheck& operator=(ContentCheck&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // Nothing where the content is what the tag says, or the tag says nothing; else "expected sha256
  // X, got Y". Call once.
  [[nodiscard]] std::optional<std::string> mismatch();

 private:
  struct State;
  std::string etag_;
  std::unique_ptr<State> state_;  // null where nothing is computed
};

}  // namespace fptq::hub
