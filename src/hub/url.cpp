#include "hub/url.h"

#include <curl/curl.h>

#include <memory>

namespace fptq::hub {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

std::string part(const Url& url, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), what, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

// A parsed http or https address; null for anything else.
Url parse(const std::string& text) {
  Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return nullptr;
  const std::string scheme = part(url, CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return nullptr;
  return url;
}

}  // namespace

std::string percent_encoded(std::string_view text, std::string_view keep) {
  constexpr std::string_view kUnreserved =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  std::string out;
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos || keep.find(c) != std::string_view::npos) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

Result<std::string> origin_of(const std::string& url) {
  const Url parsed = parse(url);
  if (!parsed) {
    return Error{Error::Kind::kFormat, "expected an address http(s)://HOST/..., got " + url};
  }
  std::string host = part(parsed, CURLUPART_HOST);
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return part(parsed, CURLUPART_SCHEME) + "://" + host + ":" +
         part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

Result<std::string> redirect_target(const std::string& url, const std::string& location) {
  const Url base = parse(url);
  const auto refused = [&] {
    return Error{Error::Kind::kFormat,
                 url + ": expected a redirect to an address as safe as this one, got " + location};
  };
  if (!base) return refused();
  const bool secure = part(base, CURLUPART_SCHEME) == "https";
  // Setting a relative address resolves it against what is there.
  if (curl_url_set(base.get(), CURLUPART_URL, location.c_str(), CURLU_URLENCODE) != CURLUE_OK) {
    return refused();
  }
  const std::string scheme = part(base, CURLUPART_SCHEME);
  if (scheme != "https" && (scheme != "http" || secure)) return refused();
  return part(base, CURLUPART_URL);
}

}  // namespace fptq::hub
