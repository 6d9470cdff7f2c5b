#include "eval/text_model.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fptq::eval {
namespace {

// Encodes a text as its length, fails for one that begins with 'x', and counts its calls.
struct CountingEncoder {
  std::size_t calls = 0;

  EncodeFn remembering() {
    return remember_long_text([this](std::string_view text) -> Result<std::vector<TokenId>> {
      ++calls;
      if (text.front() == 'x') return Error{Error::Kind::kFormat, "x"};
      return std::vector<TokenId>{static_cast<TokenId>(text.size())};
    });
  }
};

TEST(RememberLongText, EncodesTheSameLongTextOnce) {
  CountingEncoder encoder;
  const EncodeFn encode = encoder.remembering();
  const std::string first(kLongTextBytes, 'a');
  const std::string second(kLongTextBytes + 1, 'a');
  EXPECT_EQ(encode(first)->front(), 65536);
  EXPECT_EQ(encode(first)->front(), 65536);
  EXPECT_EQ(encoder.calls, 1u);
  EXPECT_EQ(encode(second)->front(), 65537);
  EXPECT_EQ(encode(first)->front(), 65536);
  EXPECT_EQ(encoder.calls, 3u);
}

TEST(RememberLongText, EncodesShortTextsAndThoseThatFailedEachTime) {
  CountingEncoder encoder;
  const EncodeFn encode = encoder.remembering();
  EXPECT_EQ(encode("ab")->front(), 2);
  EXPECT_EQ(encode("ab")->front(), 2);
  EXPECT_EQ(encoder.calls, 2u);
  const std::string broken(kLongTextBytes, 'x');
  EXPECT_FALSE(encode(broken));
  EXPECT_FALSE(encode(broken));
  EXPECT_EQ(encoder.calls, 4u);
  EXPECT_EQ(encode(std::string(kLongTextBytes, 'a'))->front(), 65536);
}

}  // namespace
}  // namespace fptq::eval
