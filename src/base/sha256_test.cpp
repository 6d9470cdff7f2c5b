#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string_view>

namespace fptq {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Sha256, MatchesTheStandardsExamples) {
  // FIPS 180-4's one-block and empty messages.
  EXPECT_EQ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            sha256_hex(bytes("abc")));
  EXPECT_EQ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            sha256_hex(bytes("")));
}

TEST(Sha256, MatchesTheStandardsTwoBlockExample) {
  EXPECT_EQ("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            sha256_hex(bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")));
}

TEST(Sha256, PiecesGiveTheHashOfTheWhole) {
  Sha256 hash;
  hash.update(bytes("a"));
  hash.update(bytes(""));
  hash.update(bytes("bc"));
  EXPECT_EQ(sha256_hex(bytes("abc")), hash.finish());
}

}  // namespace
}  // namespace fptq
