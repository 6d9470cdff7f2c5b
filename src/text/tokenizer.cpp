#include "text/tokenizer.h"

#include <utility>

#include "text/bridge_call.h"

namespace fptq::text {
namespace {

// Bits of fptq_tokenizer_flags().
constexpr std::uint8_t kKnown = 1;
constexpr std::uint8_t kSpecial = 2;

}  // namespace

struct Tokenizer::Impl {
  Impl(FptqTokenizer* loaded, std::string name) : handle(loaded), where(std::move(name)) {
    std::size_t size = 0;
    const std::uint8_t* data = fptq_tokenizer_flags(handle, &size);
    flags = {data, size};
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { fptq_tokenizer_free(handle); }

  [[nodiscard]] bool has_flag(TokenId id, std::uint8_t flag) const {
    return id >= 0 && static_cast<std::size_t>(id) < flags.size() &&
           (flags[static_cast<std::size_t>(id)] & flag) != 0;
  }

  FptqTokenizer* handle;
  std::string where;
  std::span<const std::uint8_t> flags;  // per id; owned by the handle
};

Result<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, const std::string& where) {
  FptqTokenizer* handle = nullptr;
  BridgeBytes error;
  if (!fptq_tokenizer_new(bridge_data(tokenizer_json), tokenizer_json.size(), &handle,
                          error.out())) {
    return Error{Error::Kind::kFormat, where + ": not a usable tokenizer.json: " + error.str()};
  }
  return Tokenizer(std::make_unique<Impl>(handle, where));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, bool add_special) const {
  BridgeIds ids;
  BridgeBytes error;
  if (!fptq_tokenizer_encode(impl_->handle, bridge_data(text), text.size(), add_special, ids.out(),
                             error.out())) {
    return Error{Error::Kind::kFormat, "text to tokenize: " + error.str()};
  }
  // The bridge refuses vocabularies whose ids do not fit.
  return std::vector<TokenId>(ids.begin(), ids.end());
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  // A negative id becomes one that no vocabulary has.
  const std::vector<std::uint32_t> unsigned_ids(ids.begin(), ids.end());
  BridgeBytes text;
  BridgeBytes error;
  if (!fptq_tokenizer_decode(impl_->handle, unsigned_ids.data(), unsigned_ids.size(), skip_special,
                             text.out(), error.out())) {
    return Error{Error::Kind::kInvalidArgument, impl_->where + ": " + error.str()};
  }
  return text.str();
}

std::size_t Tokenizer::vocabulary_size() const {
  return impl_->flags.size();
}

std::optional<TokenId> Tokenizer::id_of(std::string_view token) const {
  const std::int64_t id = fptq_tokenizer_id_of(impl_->handle, bridge_data(token), token.size());
  return id < 0 ? std::nullopt : std::optional(static_cast<TokenId>(id));
}

std::optional<std::string> Tokenizer::token_of(TokenId id) const {
  if (!impl_->has_flag(id, kKnown)) return std::nullopt;
  BridgeBytes token;
  if (!fptq_tokenizer_token_of(impl_->handle, static_cast<std::uint32_t>(id), token.out())) {
    return std::nullopt;
  }
  return token.str();
}

bool Tokenizer::is_known(TokenId id) const {
  return impl_->has_flag(id, kKnown);
}

bool Tokenizer::is_special(TokenId id) const {
  return impl_->has_flag(id, kSpecial);
}

}  // namespace fptq::text
