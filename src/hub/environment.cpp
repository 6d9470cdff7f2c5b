#include "hub/environment.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string_view>

#include "base/file.h"
#include "io/hub_cache.h"

namespace fptq::hub {
namespace {

// The first of these variables that is set and not empty.
std::string first_of(std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return value;
  }
  return {};
}

bool is_true(std::string value) {
  for (char& c : value) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

Status read_number(const char* variable, std::int64_t minimum, std::int64_t& number) {
  const std::string text = first_of({variable});
  if (text.empty()) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= minimum &&
      number <= 86400000) {
    return {};
  }
  return Error{Error::Kind::kInvalidArgument, std::string(variable) +
                                                  ": expected a whole number from " +
                                                  std::to_string(minimum) + " on, got " + text};
}

Result<std::string> read_token() {
  if (is_true(first_of({"HF_HUB_DISABLE_IMPLICIT_TOKEN"}))) return std::string();
  std::string token = trimmed(first_of({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
  std::string where = "HF_TOKEN";
  if (token.empty()) {
    const std::string named = first_of({"HF_TOKEN_PATH"});
    const std::filesystem::path path =
        named.empty() ? io::hub_home_dir() / "token" : std::filesystem::path(named);
    if (const auto text = read_text_file(path, 1 << 16)) token = trimmed(*text);
    where = path.string();
  }
  // It becomes part of a line of a request.
  if (std::any_of(token.begin(), token.end(), [](char c) { return c <= ' ' || c > '~'; })) {
    return Error{Error::Kind::kInvalidArgument,
                 where + ": expected a token of printable characters, got others"};
  }
  return token;
}

}  // namespace

Result<Environment> read_environment() {
  Environment environment;
  if (std::string endpoint = trimmed(first_of({"HF_ENDPOINT"})); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    if (!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) {
      return Error{Error::Kind::kInvalidArgument,
                   "HF_ENDPOINT: expected https://HOST, got " + endpoint};
    }
    environment.endpoint = endpoint;
  }
  FPTQ_TRY(environment.token, read_token());
  environment.offline = is_true(first_of({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  FPTQ_TRY_VOID(read_number("HF_HUB_DOWNLOAD_TIMEOUT", 1, environment.download_timeout_s));
  FPTQ_TRY_VOID(read_number("HF_HUB_ETAG_TIMEOUT", 1, environment.metadata_timeout_s));
  FPTQ_TRY_VOID(read_number("FPTQ_HUB_RETRY_MS", 0, environment.retry_wait_ms));
  environment.certificates = first_of({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"});
  return environment;
}

}  // namespace fptq::hub
