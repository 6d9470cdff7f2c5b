#include "hub/etag.h"

#include <gtest/gtest.h>

namespace fptq::hub {
namespace {

TEST(Etag, DropsQuotesAndWeakness) {
  EXPECT_EQ("abc", parse_etag("\"abc\""));
  EXPECT_EQ("abc", parse_etag("W/\"abc\""));
  EXPECT_EQ("a.b-c_D9", parse_etag("a.b-c_D9"));
}

TEST(Etag, RefusesWhatCouldNotNameAFile) {
  for (const char* tag : {"", "\"\"", "..", ".a", "a/b", "a b", "\"a", "\xc3\xa9"}) {
    EXPECT_FALSE(parse_etag(tag)) << tag;
  }
  EXPECT_TRUE(parse_etag(std::string(128, 'a')));
  EXPECT_FALSE(parse_etag(std::string(129, 'a')));
}

TEST(Etag, HexadecimalDigitsAreLowerCase) {
  EXPECT_TRUE(is_hex("0a9f", 4));
  EXPECT_FALSE(is_hex("0A9F", 4));
  EXPECT_FALSE(is_hex("0a9f", 5));
}

std::optional<std::string> mismatch(const std::string& etag, const std::string& content) {
  ContentCheck check(etag, content.size());
  check.update(std::as_bytes(std::span(content.data(), content.size())));
  return check.mismatch();
}

// printf hello | sha256sum, and printf hello | git hash-object --stdin.
constexpr const char* kSha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
constexpr const char* kGitHash = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";

TEST(ContentCheck, ComparesSha256) {
  EXPECT_FALSE(mismatch(kSha256, "hello"));
  EXPECT_EQ(std::string("expected sha256 ") + kSha256 +
                ", got e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            mismatch(kSha256, ""));
}

TEST(ContentCheck, ComparesGitsHashOfABlob) {
  EXPECT_FALSE(mismatch(kGitHash, "hello"));
  EXPECT_EQ(std::string("expected git's hash ") + kGitHash +
                ", got e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
            mismatch(kGitHash, ""));
}

TEST(ContentCheck, TakesOtherTagsForNames) {
  EXPECT_FALSE(mismatch("abc", "hello"));
  // Without a size git's hash has no beginning.
  EXPECT_FALSE(ContentCheck(kGitHash, std::nullopt).mismatch());
}

}  // namespace
}  // namespace fptq::hub
