#include "eval/task_encoding.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq::eval {
namespace {

// A token a character, its code, but "ab" is one token, 200. BOS is 1.
std::vector<TokenId> plain(std::string_view text) {
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool merged = text.substr(i, 2) == "ab";
    ids.push_back(merged ? 200 : static_cast<unsigned char>(text[i]));
    if (merged) ++i;
  }
  return ids;
}

TaskEncoder encoder(std::size_t context = 100) {
  TaskEncoder result;
  result.encode = [](std::string_view text) -> Result<std::vector<TokenId>> {
    std::vector<TokenId> ids = plain(text);
    ids.insert(ids.begin(), 1);
    return ids;
  };
  result.encode_plain = [](std::string_view text) -> Result<std::vector<TokenId>> {
    return plain(text);
  };
  result.prefix_token = 1;
  result.context = context;
  return result;
}

using Ids = std::vector<TokenId>;

EncodedRequest encoded(const std::string& context, const std::string& continuation,
                       std::size_t most = 100) {
  auto request = encode_request(encoder(most), context, continuation, "d");
  EXPECT_TRUE(request) << request.error().message;
  return request ? *std::move(request) : EncodedRequest();
}

TEST(TaskEncoding, ScoresWhatIsBehindTheContext) {
  const EncodedRequest request = encoded("xy", " z");
  EXPECT_EQ(request.sequence.tokens, (Ids{1, 'x', 'y', ' ', 'z'}));
  EXPECT_EQ(request.sequence.first_scored, 3U);
  EXPECT_EQ(request.tokens, 2U);
  EXPECT_FALSE(request.cut);
}

TEST(TaskEncoding, MovesWhiteSpaceToTheContinuation) {
  const EncodedRequest request = encoded("x\xC2\xA0\n", "z");
  EXPECT_EQ(request.sequence.tokens, (Ids{1, 'x', 0xC2, 0xA0, '\n', 'z'}));
  EXPECT_EQ(request.sequence.first_scored, 2U);
}

// "xa" + "bc" is x ab c: behind the two tokens of "xa" only c is left, as in the harness.
TEST(TaskEncoding, CutsByLengthWhereAMergeCrossesTheBoundary) {
  const EncodedRequest request = encoded("xa", "bc");
  EXPECT_EQ(request.sequence.tokens, (Ids{1, 'x', 'a', 'c'}));
  EXPECT_EQ(request.tokens, 1U);
}

TEST(TaskEncoding, PutsThePrefixTokenBeforeNothing) {
  const EncodedRequest request = encoded("", "z");
  EXPECT_EQ(request.sequence.tokens, (Ids{1, 'z'}));
  EXPECT_EQ(request.sequence.first_scored, 1U);
  EXPECT_EQ(encoded(" ", "z").sequence.tokens, (Ids{1, ' ', 'z'}));
  EXPECT_EQ(encoded("", "\x01z").sequence.tokens, (Ids{1, 'z'}));
}

TEST(TaskEncoding, KeepsTheEndOfWhatIsTooLong) {
  const EncodedRequest request = encoded("uvwxy", "zz", 4);
  EXPECT_EQ(request.sequence.tokens, (Ids{'w', 'x', 'y', 'z', 'z'}));
  EXPECT_EQ(request.sequence.first_scored, 3U);
  EXPECT_TRUE(request.cut);
  EXPECT_FALSE(encoded("uv", "zz", 4).cut);
}

TEST(TaskEncoding, SaysWhatCannotBeScored) {
  const auto empty = encode_request(encoder(), "x", "", "d");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().message,
            "d: expected a continuation that has tokens of its own, got none");
  const auto merged = encode_request(encoder(), "xa", "b", "d");
  ASSERT_FALSE(merged);  // "xab" has as many tokens as "xa"
  const auto too_long = encode_request(encoder(2), "x", "yyy", "d");
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().message,
            "d: expected a continuation of at most 2 tokens, what the model sees, got 3");
  TaskEncoder without = encoder();
  without.prefix_token.reset();
  EXPECT_FALSE(encode_request(without, "", "z", "d"));
}

}  // namespace
}  // namespace fptq::eval
