#include "hub/url.h"

#include <gtest/gtest.h>

namespace fptq::hub {
namespace {

TEST(Url, EncodesAllButUnreservedCharacters) {
  EXPECT_EQ("refs%2Fpr%2F1", percent_encoded("refs/pr/1"));
  EXPECT_EQ("a%20b/%23%3F%25.json", percent_encoded("a b/#?%.json", "/"));
  EXPECT_EQ("%C3%A9~", percent_encoded("\u00e9~"));
}

std::string origin(const std::string& url) {
  const auto result = origin_of(url);
  return result ? *result : result.error().message;
}

TEST(Url, OriginIsSchemeHostAndPort) {
  EXPECT_EQ("https://huggingface.co:443", origin("https://HuggingFace.co/a/b?c"));
  EXPECT_EQ("http://127.0.0.1:8080", origin("http://127.0.0.1:8080"));
  EXPECT_EQ("https://host:443", origin("https://user:word@host/"));
  EXPECT_EQ("expected an address http(s)://HOST/..., got file:///etc/passwd",
            origin("file:///etc/passwd"));
  EXPECT_EQ("expected an address http(s)://HOST/..., got ", origin(""));
}

std::string redirected(const std::string& url, const std::string& location) {
  const auto result = redirect_target(url, location);
  return result ? *result : result.error().message;
}

TEST(Url, RedirectsMayBeRelative) {
  EXPECT_EQ("https://hub/x/y?z=1", redirected("https://hub/a/b", "/x/y?z=1"));
  EXPECT_EQ("https://hub/a/c", redirected("https://hub/a/b", "c"));
  EXPECT_EQ("https://cdn/a", redirected("https://hub/a/b", "//cdn/a"));
  EXPECT_EQ("https://cdn/a?s=1%2F2", redirected("http://hub/a", "https://cdn/a?s=1%2F2"));
}

TEST(Url, RedirectsStayAsSafeAsTheyWere) {
  for (const char* location : {"http://cdn/a", "file:///etc/passwd", "ftp://cdn/a", "http:///"}) {
    EXPECT_EQ(std::string("https://hub/a: expected a redirect to an address as safe as this one, "
                          "got ") +
                  location,
              redirected("https://hub/a", location));
  }
}

}  // namespace
}  // namespace fptq::hub
