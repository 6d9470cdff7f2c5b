#include "hub/etag.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace fptq::hub {

std::optional<std::string> parse_etag(std::string_view header) {
  if (header.starts_with("W/")) header.remove_prefix(2);
  if (header.size() >= 2 && header.front() == '"' && header.back() == '"') {
    header = header.substr(1, header.size() - 2);
  }
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (header.empty() || header.size() > 128 || header.front() == '.' ||
      !std::all_of(header.begin(), header.end(), allowed)) {
    return std::nullopt;
  }
  return std::string(header);
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

struct ContentCheck::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

ContentCheck::ContentCheck(std::string etag, std::optional<std::uint64_t> size_bytes)
    : etag_(std::move(etag)) {
  const bool sha256 = is_hex(etag_, 64);
  if (!sha256 && !(is_hex(etag_, 40) && size_bytes)) return;
  state_ = std::make_unique<State>();
  FPTQ_CHECK(
      state_->context != nullptr &&
          EVP_DigestInit_ex(state_->context, sha256 ? EVP_sha256() : EVP_sha1(), nullptr) == 1,
      "libcrypto has SHA-256 and SHA-1");
  if (sha256) return;
  const std::string head = "blob " + std::to_string(*size_bytes);
  update(std::as_bytes(std::span(head.c_str(), head.size() + 1)));  // with its zero byte
}
ContentCheck::~ContentCheck() = default;
ContentCheck::ContentCheck(ContentCheck&&) noexcept = default;
ContentCheck& ContentCheck::operator=(ContentCheck&&) noexcept = default;

void ContentCheck::update(std::span<const std::byte> bytes) {
  if (state_) EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::optional<std::string> ContentCheck::mismatch() {
  if (!state_) return std::nullopt;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, digest.data(), &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  if (hex == etag_) return std::nullopt;
  return std::string("expected ") + (size == 32 ? "sha256 " : "git's hash ") + etag_ + ", got " +
         hex;
}

}  // namespace fptq::hub
